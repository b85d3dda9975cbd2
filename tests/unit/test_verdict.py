"""The decision table on ends: causes first, the number last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox.engine.verdict import decide
from trainbox_sdk.backends import Cause, Limits, Observation, Phase, SandboxRef
from trainbox_sdk.jobs import State

REF = SandboxRef("i", "job", "att")
LIMITS = Limits()
SAID = {"code": "bad_rows", "message": "row 7 is bad", "hint": "fix it"}


def seen(exit_code: int | None = 0, cause: Cause = Cause.NONE, **more) -> Observation:
    return Observation(REF, Phase.EXITED, exit_code=exit_code, cause=cause, **more)


TABLE = [
    (dict(seen=seen(0)), None, ""),
    (dict(seen=seen(0), failure=SAID), None, ""),
    (dict(seen=seen(0, Cause.OUT_OF_MEMORY)), None, ""),
    (dict(seen=seen(0), cancelled=True), State.CANCELLED, "cancelled"),
    (dict(seen=seen(0), cancelled=True, timed_out=True), State.CANCELLED, "cancelled"),
    (dict(seen=seen(None, Cause.LOST), cancelled=True), State.CANCELLED, "cancelled"),
    (dict(seen=seen(0), timed_out=True), State.FAILED, "timeout"),
    (dict(seen=seen(143), timed_out=True, engine_was_away=True), State.FAILED, "timeout"),
    (dict(seen=seen(None, Cause.LOST)), State.INTERRUPTED, "sandbox_lost"),
    (dict(seen=seen(None)), State.INTERRUPTED, "sandbox_lost"),
    (dict(seen=seen(137), engine_was_away=True), State.INTERRUPTED, "engine_restarted"),
    (dict(seen=seen(1), engine_was_away=True), State.FAILED, "exit_1"),
    (dict(seen=seen(0), engine_was_away=True), None, ""),
    (dict(seen=seen(None, Cause.START_FAILED, detail="no")), State.FAILED, "start_failed"),
    (dict(seen=seen(137, Cause.DISK_LIMIT)), State.FAILED, "disk_limit"),
    (dict(seen=seen(0, Cause.DISK_LIMIT)), State.FAILED, "disk_limit"),
    (dict(seen=seen(137, Cause.LOG_LIMIT)), State.FAILED, "log_limit"),
    (dict(seen=seen(137, Cause.OUT_OF_MEMORY)), State.FAILED, "out_of_memory"),
    (
        dict(seen=seen(137, Cause.OUT_OF_MEMORY), engine_was_away=True),
        State.FAILED,
        "out_of_memory",
    ),
    (dict(seen=seen(1, Cause.OUT_OF_MEMORY), failure=SAID), State.FAILED, "out_of_memory"),
    (dict(seen=seen(1), disk_full="it is full"), State.FAILED, "disk_limit"),
    (dict(seen=seen(65), failure=SAID, disk_full="it is full"), State.FAILED, "disk_limit"),
    (dict(seen=seen(0), disk_full="it is full"), None, ""),
    (dict(seen=seen(137, Cause.OUT_OF_MEMORY), disk_full="x"), State.FAILED, "out_of_memory"),
    (dict(seen=seen(143), timed_out=True, disk_full="x"), State.FAILED, "timeout"),
    (dict(seen=seen(65), failure=SAID), State.FAILED, "bad_rows"),
    (dict(seen=seen(65), failure={}), State.FAILED, "failed"),
    (dict(seen=seen(1), failure={"code": "A B"}), State.FAILED, "failed"),
    (dict(seen=seen(1), failure={"code": "x" * 65}), State.FAILED, "failed"),
    (dict(seen=seen(137)), State.FAILED, "exit_137"),
    (dict(seen=seen(1)), State.FAILED, "exit_1"),
    (dict(seen=seen(-1)), State.FAILED, "exit_-1"),
    (dict(seen=seen(250)), State.FAILED, "exit_250"),
]


@pytest.mark.parametrize(("case", "state", "code"), TABLE)
def test_the_table(case, state, code) -> None:
    verdict = decide(case.pop("seen"), LIMITS, **case)
    assert (verdict.state, verdict.reason_code) == (state, code)
    assert bool(verdict.reason) is bool(state)


@given(
    st.builds(
        seen,
        st.none() | st.integers(-5, 300),
        st.sampled_from(Cause),
        detail=st.text(),
        peak_memory_bytes=st.none() | st.integers(0, 2**50),
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
)
def test_every_end_has_a_verdict_and_only_a_clean_one_goes_on(
    look, cancelled, timed_out, away, failure
) -> None:
    verdict = decide(
        look,
        LIMITS,
        cancelled=cancelled,
        timed_out=timed_out,
        engine_was_away=away,
        failure=failure,
    )
    if verdict.state is None:
        assert look.exit_code == 0
        assert not cancelled
        assert not timed_out
    else:
        assert verdict.state.terminal
        assert verdict.state is not State.SUCCEEDED
        assert verdict.reason_code
        assert (verdict.state is State.CANCELLED) is cancelled


def test_a_guest_that_names_no_reason_gets_one() -> None:
    assert decide(seen(3), LIMITS, failure={}).reason == (
        "the code ended with exit code 3; see its log"
    )


def test_a_guests_sentence_is_kept_short() -> None:
    assert len(decide(seen(3), LIMITS, failure={"message": "x" * 9000, "hint": "y"}).reason) == 4000


def test_a_flood_is_told_with_the_limit_it_passed() -> None:
    told = "it printed more than 64 MiB"
    flooded = decide(seen(137, Cause.LOG_LIMIT, detail=told), LIMITS)
    assert flooded.reason == f"killed: {told}"
    assert decide(seen(137, Cause.LOG_LIMIT), LIMITS).reason == (
        "killed: it printed more than a step may"
    )


def test_reasons_name_no_field_of_a_surface() -> None:
    for reason in (
        decide(seen(137, Cause.OUT_OF_MEMORY), LIMITS).reason,
        decide(seen(143), LIMITS, timed_out=True).reason,
    ):
        assert "memory_bytes" not in reason
        assert "timeout_s" not in reason
