"""Anything may happen at any time; whatever it was, in the end every promise holds."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from points import Points, crash, watch
from rooms import ACCEPTS, REPORT, Daemon, Drawn, World, a_step

from trainbox.engine import patience
from trainbox.states import TRANSITIONS
from trainbox_sdk.backends import Capacity
from trainbox_sdk.engine import JobFilter
from trainbox_sdk.errors import Conflict
from trainbox_sdk.jobs import JobView, State
from trainbox_sdk.tasks import Output
from trainbox_sdk.testing.fake_backend import FakeScript

GIB = 1024**3
EVENT = b'{"t":"metric","at":1,"name":"loss","value":1}'
FINE = FakeScript(
    outputs={"model.onnx": b"onnx", "a.txt": b"a"}, result=REPORT, events=(EVENT,), run_for_s=0.02
)
SCRIPTS = (
    FINE,
    FINE,
    FINE,
    FakeScript(exit_code=1, events=(EVENT,)),
    FakeScript(run_for_s=None, events=(EVENT,)),
    FakeScript(run_for_s=None, term_exit_code=None, events=(EVENT,)),
    FakeScript(vanishes=True, run_for_s=0.01, events=(EVENT,)),
    FakeScript(out_of_memory=True, run_for_s=0.01, events=(EVENT,)),
    FakeScript(start_failure="no"),
    FakeScript(outputs={"model.onnx": b""}, events=(EVENT,)),
)


class Walk:
    """One world, one stream of chance."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.steps: list[str] = []
        self.jobs: list[str] = []
        world.grace_s = 0.02
        world.host.capacity = Capacity(cpus=3.0, memory_bytes=8 * GIB)
        world.host.on(ACCEPTS, FakeScript(run_for_s=0.03, result={"a": 1}), ACCEPTS, role="check")
        world.host.on(*self.chance.choices(SCRIPTS, k=100), role="step")
        world.install(
            Drawn(
                "graph",
                a_step("first", outputs=[Output("a.txt")]),
                a_step("second", after=["first"]),
            )
        )

    async def start(self) -> Daemon:
        self.points = Points()
        watch(self.world, self.points)
        self.daemon = await self.world.start()
        self.reconciling = asyncio.create_task(self.daemon.reconciler.run(0.02))
        return self.daemon

    async def stop(self) -> None:
        self.reconciling.cancel()
        await asyncio.gather(self.reconciling, return_exceptions=True)
        await self.daemon.stop()

    async def step(self) -> None:
        what = self.chance.choice(
            ["submit", "submit", "cancel", "retry", "away", "lose", "kill", "stop", "rest", "rest"]
        )
        self.steps.append(what)
        await getattr(self, f"do_{what}")()

    async def do_submit(self) -> None:
        self.jobs.append(
            await self.daemon.submit(
                self.chance.choice(["train", "graph"]), priority=self.chance.randint(-1, 1)
            )
        )

    async def do_cancel(self) -> None:
        if self.jobs:
            try:
                await self.daemon.cancel(self.chance.choice(self.jobs))
            except Conflict:
                self.steps.append("(ended)")

    async def do_retry(self) -> None:
        if self.jobs:
            try:
                await self.daemon.retry(self.chance.choice(self.jobs))
            except Conflict:
                self.steps.append("(not retriable)")

    async def do_away(self) -> None:
        self.world.host.away = not self.world.host.away

    async def do_lose(self) -> None:
        """Remove a sandbox by hand."""
        if self.world.host.sandboxes:
            del self.world.host.sandboxes[self.chance.choice(list(self.world.host.sandboxes))]

    async def do_kill(self) -> None:
        await crash(self.daemon, self.points)
        await self.start()

    async def do_stop(self) -> None:
        await self.stop()
        await self.start()

    async def do_rest(self) -> None:
        await asyncio.sleep(self.chance.choice([0, 0.005, 0.03, 0.08]))

    async def calm(self) -> list[JobView]:
        """Let nothing more happen; end what would run for ever; return all jobs."""
        self.world.host.away = False
        while True:
            jobs = (await self.daemon.store.jobs.list(JobFilter(limit=500), None)).items
            running = [job for job in jobs if not job.state.terminal]
            if not running:
                await self.daemon.idle()
                await self.daemon.reconciler.look()
                return list(jobs)
            await asyncio.sleep(0.05)
            print(walkdbg(self, running))
            for job in running:
                if job.state is State.RUNNING:
                    try:
                        await self.daemon.cancel(job.id)
                    except Conflict:
                        continue


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.02)


@pytest.mark.parametrize("seed", range(12))
async def test_a_walk(world: World, seed: int) -> None:
    walk = Walk(world, seed)
    await walk.start()
    for _ in range(30):
        await walk.step()
    jobs = await walk.calm()
    try:
        await every_promise_holds(walk, jobs)
    except AssertionError as error:
        raise AssertionError(f"after {' '.join(walk.steps)}") from error
    finally:
        await walk.stop()


async def every_promise_holds(walk: Walk, jobs: list[JobView]) -> None:
    daemon, world = walk.daemon, walk.world
    assert sorted(job.id for job in jobs) == sorted(walk.jobs)
    for job in jobs:
        await one_jobs_promises(daemon, job)
    attempts = {a.id.replace("_", "-") for job in jobs for s in job.steps for a in s.attempts}
    for name in world.host.created:
        assert any(attempt in name for attempt in attempts), "a sandbox without an attempt"
    assert not world.host.sandboxes, "an orphan"
    assert not list((world.state_dir / "sandboxes").iterdir()), "a folder nobody owns"
    models = (await daemon.store.models.list(owner=None, limit=500)).items
    assert sorted(model.job_id for model in models) == sorted(
        job.id for job in jobs if job.state is State.SUCCEEDED
    )


async def one_jobs_promises(daemon: Daemon, job: JobView) -> None:
    moves: dict[tuple[str, int], list[State]] = {}
    metrics = 0
    for event in await daemon.events(job.id):
        metrics += event.kind == "metric"
        if event.kind == "state" and event.data["step"]:
            moves.setdefault((event.data["step"], event.data["attempt"]), []).append(
                State(event.data["state"])
            )
    for path in moves.values():
        # The last attempt's end is followed by "queued" where it was retried.
        path = path[:-1] if len(path) > 1 and path[-1] is State.QUEUED else path
        for before, after in zip(path, path[1:], strict=False):
            retried = after is State.QUEUED and before.terminal
            assert retried or after in TRANSITIONS[before], path
    for step in job.steps:
        assert [a.number for a in step.attempts] == list(range(1, len(step.attempts) + 1))
        assert all(a.state.terminal for a in step.attempts)
        assert Counter(a.state for a in step.attempts)[State.SUCCEEDED] <= 1
    started = sum(len(step.attempts) for step in job.steps)
    assert metrics <= started, "an event was doubled"
    assert "internal" not in {a.reason_code for s in job.steps for a in s.attempts}


def walkdbg(walk, running):
    import time

    return (
        time.monotonic(),
        [(j.id, j.state.value, j.reason_code, j.reason) for j in running],
        [t.get_name() + repr(t.get_stack(limit=3)) for t in walk.daemon.supervisor._tasks.values()],
        {k: v.phase for k, v in walk.world.host.sandboxes.items()},
        walk.daemon.loop,
    )
