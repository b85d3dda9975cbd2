"""One failure policy per sort of hook: decisions fail closed, notifications are isolated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from trainbox_sdk import API_VERSION, hookimpl
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import PluginError
from trainbox_sdk.jobs import JobEvent, JobSpec

WHO = Principal("p1", "ada", frozenset({"jobs"}))
SPEC = JobSpec("regression")
EVENT = JobEvent(1, "job_1", "state", datetime.now(UTC), {"state": "queued"})


def authorizer(answer: Callable[..., Any]) -> type:
    class Plugin:
        api = API_VERSION

        @hookimpl
        def authorize(self, principal: Principal, action: str, owner: str) -> Any:
            return answer(principal, action, owner)

    return Plugin


def admitter(answer: Callable[..., Any]) -> type:
    class Plugin:
        api = API_VERSION

        @hookimpl
        def admit(self, principal: Principal, spec: JobSpec) -> Any:
            return answer(principal, spec)

    return Plugin


def listener(hear: Callable[[str], None]) -> type:
    class Plugin:
        api = API_VERSION

        @hookimpl
        def on_job_event(self, event: JobEvent) -> None:
            hear(event.kind)

        @hookimpl
        def on_daemon_state(self, state: str) -> None:
            hear(state)

    return Plugin


def fail(*_: Any) -> Any:
    raise RuntimeError("boom")


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def leave(*_: Any) -> Any:
    raise SystemExit(3)


def cancel(*_: Any) -> Any:
    raise asyncio.CancelledError


def speechless(*_: Any) -> Any:
    raise Wordless


FAILURES = pytest.mark.parametrize("failure", [fail, leave, cancel, speechless])


# --- authorize


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], None),
        ([None], None),
        ([None, None], None),
        ([True], True),
        ([None, True], True),
        ([False], False),
        ([True, False], False),
        ([False, True], False),
        ([True, None, False], False),
    ],
)
def test_one_refusal_refuses_and_one_grant_grants(
    loader: Any, answers: list[Any], expected: bool | None
) -> None:
    for index, answer in enumerate(answers):
        loader.add(f"p{index}", authorizer(lambda *_, answer=answer: answer))
    assert loader.load().authorize(WHO, "job.read", "p2") is expected


@FAILURES
def test_an_authorizer_that_raises_refuses_even_after_a_grant(loader: Any, failure: Any) -> None:
    loaded = loader.add("a", authorizer(lambda *_: True)).add("b", authorizer(failure)).load()
    assert loaded.authorize(WHO, "job.read", "p2") is False


@pytest.mark.parametrize("nonsense", ["yes", 1, 0, [], object()])
def test_an_authorizer_that_answers_nonsense_refuses(loader: Any, nonsense: Any) -> None:
    assert loader.add("a", authorizer(lambda *_: nonsense)).load().authorize(WHO, "x", "y") is False


def test_an_authorizer_sees_who_what_and_whose(loader: Any) -> None:
    seen: list[Any] = []
    loader.add("a", authorizer(lambda *facts: seen.append(facts))).load().authorize(WHO, "x", "y")
    assert seen == [(WHO, "x", "y")]


def test_a_coroutine_function_cannot_slip_in_as_a_grant(loader: Any) -> None:
    async def answer(*_: Any) -> bool:
        return True

    pending = answer()
    try:
        loaded = loader.add("a", authorizer(lambda *_: pending)).load()
        assert loaded.authorize(WHO, "x", "y") is False
    finally:
        pending.close()


# --- admit


def test_nobody_objects(loader: Any) -> None:
    assert loader.load().admit(WHO, SPEC) is None
    assert loader.add("a", admitter(lambda *_: None)).load().admit(WHO, SPEC) is None


def test_the_first_refusal_in_file_order_wins(loader: Any) -> None:
    asked: list[str] = []

    def answer(name: str, reason: str | None) -> type:
        def decide(*_: Any) -> str | None:
            asked.append(name)
            return reason

        return admitter(decide)

    loader.add("z", answer("z", None)).add("m", answer("m", "quota")).add("a", answer("a", "no"))
    assert loader.load().admit(WHO, SPEC) == "quota"
    assert asked == ["z", "m"]


def test_a_refusal_without_words_still_refuses(loader: Any) -> None:
    reason = loader.add("a", admitter(lambda *_: "")).load().admit(WHO, SPEC)
    assert reason == 'plugin "a" refused the job without a reason'


@pytest.mark.parametrize("decide", [fail, leave, cancel, speechless, lambda *_: True])
def test_an_admitter_that_cannot_decide_refuses_with_a_code(loader: Any, decide: Any) -> None:
    loaded = loader.add("a", admitter(decide)).load()
    with pytest.raises(PluginError, match='plugin "a" could not decide') as caught:
        loaded.admit(WHO, SPEC)
    assert caught.value.code == "admit_failed"
    assert "boom" not in caught.value.message  # a stranger's traceback is not for the caller


# --- notifications


def test_everyone_hears_in_file_order_whatever_the_marks_say(loader: Any) -> None:
    heard: list[str] = []

    class Pushy:
        api = API_VERSION

        @hookimpl(tryfirst=True)
        def on_daemon_state(self, state: str) -> None:
            heard.append("pushy")

    loader.add("z", listener(lambda _: heard.append("z"))).add("pushy", Pushy)
    loader.add("a", listener(lambda _: heard.append("a"))).load().notify_daemon_state("ready")
    assert heard == ["z", "pushy", "a"]


@FAILURES
def test_one_failure_does_not_silence_the_others(loader: Any, failure: Any) -> None:
    heard: list[str] = []
    loader.add("a", listener(failure)).add("b", listener(heard.append))
    loaded = loader.load()
    loaded.notify_job_event(EVENT)
    loaded.notify_daemon_state("stopping")
    assert heard == ["state", "stopping"]


def test_failures_in_a_row_mute_a_plugin_and_say_so(loader: Any) -> None:
    calls: list[str] = []

    def hear(word: str) -> None:
        calls.append(word)
        raise RuntimeError(f"boom {len(calls)}")

    loaded = loader.add("a", listener(hear)).load(failures_in_a_row=3)
    for _ in range(10):
        loaded.notify_job_event(EVENT)
    assert len(calls) == 3
    info = loaded.infos()[0]
    assert info.status == "loaded"  # what it registered still works
    assert info.error == (
        "hears no more events after 3 failures in a row: on_job_event raised RuntimeError: boom 3"
    )


def test_a_success_forgives_the_failures_before_it(loader: Any) -> None:
    calls: list[str] = []

    def hear(word: str) -> None:
        calls.append(word)
        if len(calls) % 3:
            raise RuntimeError("boom")

    loaded = loader.add("a", listener(hear)).load(failures_in_a_row=3)
    for _ in range(30):
        loaded.notify_job_event(EVENT)
    assert len(calls) == 30
    assert loaded.infos()[0].error == ""


def test_a_listener_that_returns_a_coroutine_has_failed(loader: Any) -> None:
    async def hear(word: str) -> None: ...

    class Plugin:
        api = API_VERSION

        @hookimpl
        def on_daemon_state(self, state: str) -> Any:
            return hear(state)

    loaded = loader.add("a", Plugin).load(failures_in_a_row=1)
    loaded.notify_daemon_state("ready")
    assert "it returned a coroutine" in loaded.infos()[0].error


def test_a_keyboard_interrupt_is_the_operators(loader: Any) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loader.add("a", listener(stop)).load().notify_daemon_state("ready")


def test_a_muted_plugin_still_decides(loader: Any) -> None:
    class Guard:
        api = API_VERSION

        @hookimpl
        def authorize(self, principal: Principal, action: str, owner: str) -> bool | None:
            return False

        @hookimpl
        def on_job_event(self, event: JobEvent) -> None:
            raise RuntimeError("boom")

    loaded = loader.add("guard", Guard).load(failures_in_a_row=1)
    loaded.notify_job_event(EVENT)
    assert "hears no more" in loaded.infos()[0].error
    assert loaded.authorize(WHO, "job.read", "p1") is False
