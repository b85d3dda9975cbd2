"""A watch ends when its sandbox does: by itself, on request, or at its deadline."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from trainbox.clock import now
from trainbox.engine import patience
from trainbox.engine.watch import Ended, Watch
from trainbox_sdk.backends import Limits, Observation, Phase, SandboxRef
from trainbox_sdk.errors import BackendRejected, BackendUnavailable

REF = SandboxRef("i", "job", "att")


class Engine:
    """One sandbox, as a watch sees it."""

    def __init__(self, *, finished_at: datetime | None = None) -> None:
        self.dead = asyncio.Event()
        self.exit_code = 0
        self.finished_at = finished_at
        self.failures = 0
        self.stops: list[float] = []
        self.waits = 0
        self.waiting = 0

    async def wait(self, spec) -> Observation:
        self.waits += 1
        if self.failures:
            self.failures -= 1
            raise BackendUnavailable("away")
        self.waiting += 1
        try:
            await self.dead.wait()
        finally:
            self.waiting -= 1
        return Observation(
            REF, Phase.EXITED, exit_code=self.exit_code, finished_at=self.finished_at
        )

    async def stop(self, ref, grace_s) -> None:
        self.stops.append(grace_s)
        if not self.dead.is_set():
            self.exit_code = 143
            self.dead.set()


class Spec:
    ref = REF
    limits = Limits(grace_s=7.0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


def watch(engine: Engine, notices: list | None = None):
    cancel = asyncio.Event()

    async def notice(error) -> None:
        (notices if notices is not None else []).append(error)

    return Watch(engine, Spec(), cancel, notice), cancel  # type: ignore[arg-type]


LATER = timedelta(hours=1)


async def until(watch: Watch, after: timedelta = LATER) -> Ended:
    return await watch.until_dead(now() + after)


async def test_an_end_by_itself() -> None:
    engine = Engine()
    engine.dead.set()
    ended = await until(watch(engine)[0])
    assert (ended.seen.exit_code, ended.timed_out, ended.engine_was_away) == (0, False, False)
    assert engine.stops == []


async def test_an_end_on_request_with_the_grace_of_the_limits() -> None:
    engine = Engine()
    looking, cancel = watch(engine)
    task = asyncio.create_task(until(looking))
    await asyncio.sleep(0.01)
    cancel.set()
    ended = await task
    assert (ended.seen.exit_code, ended.timed_out) == (143, False)
    assert engine.stops == [7.0]


async def test_an_end_at_the_deadline() -> None:
    engine = Engine()
    ended = await until(watch(engine)[0], timedelta(seconds=0.01))
    assert ended.timed_out
    assert engine.stops == [7.0]


async def test_a_deadline_long_gone_stops_what_still_runs() -> None:
    engine = Engine()
    assert (await until(watch(engine)[0], -LATER)).timed_out


async def test_a_deadline_long_gone_does_not_condemn_what_ended_before_it() -> None:
    engine = Engine(finished_at=now() - 2 * LATER)
    engine.dead.set()
    assert not (await until(watch(engine)[0], -LATER)).timed_out


async def test_an_engine_that_is_away_is_waited_for_and_remembered() -> None:
    engine, notices = Engine(), []
    engine.failures = 3
    engine.dead.set()
    ended = await until(watch(engine, notices)[0])
    assert ended.engine_was_away
    assert len(notices) == 3


async def test_a_cancelled_watch_leaves_nothing_waiting() -> None:
    engine = Engine()
    task = asyncio.create_task(until(watch(engine)[0]))
    while not engine.waiting:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.waiting == 0
    assert engine.stops == []


async def test_an_error_that_is_no_absence_is_told() -> None:
    class Refusing(Engine):
        async def stop(self, ref, grace_s) -> None:
            raise BackendRejected("no")

    engine = Refusing()
    with pytest.raises(BackendRejected):
        await until(watch(engine)[0], -LATER)
    assert engine.waiting == 0
