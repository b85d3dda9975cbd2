"""A daemon that ends at any point of its work: the next one goes on, once, and loses nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from points import Points, crash, unwatch, watch
from rooms import ACCEPTS, REPORT, Daemon, World

from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeScript

EVENTS = tuple(b'{"t":"metric","at":%d,"name":"loss","value":%d}' % (n, n) for n in range(5))
TRAINS = FakeScript(outputs={"model.onnx": b"onnx"}, result=REPORT, events=EVENTS, run_for_s=0.02)

CALLS = (
    "engine.build_environment",
    "engine.capacity",
    "engine.prepare check",
    "engine.prepare step",
    "engine.remove check",
    "engine.remove step",
    "engine.start check",
    "engine.start step",
    "engine.wait check",
    "engine.wait step",
    "files.put_fd",
    "store.active_and_queued",
    "store.append_event",
    "store.append_guest_events",
    "store.begin_attempt",
    "store.step",
    "store.succeed",
    "store.transition collecting",
    "store.transition running",
    "store.transition verifying",
)
POINTS = tuple(f"{when} {call}" for call in CALLS for when in ("before", "after"))


@pytest.fixture
def trains(world: World) -> World:
    world.host.default = TRAINS
    return world


async def test_the_points_below_are_all_there_are(trains: World) -> None:
    points = Points()
    watch(trains, points)
    async with trains.daemon(loops=False) as daemon:
        points.passed.clear()  # the look at the start has tests of its own
        daemon.loop = asyncio.create_task(daemon.run())
        await daemon.ended(await daemon.submit())
    assert set(points.passed) == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_there_the_job_succeeds_once(trains: World, point: str) -> None:
    points = Points()
    watch(trains, points)
    daemon = await trains.start(loops=False)
    job_id = await daemon.submit()
    points.stop_at(point)
    daemon.loop = asyncio.create_task(daemon.run())
    await points.reached.wait()
    await crash(daemon, points)
    await goes_on(trains, job_id)


@pytest.mark.parametrize("point", POINTS)
async def test_stopped_there_the_job_succeeds_once(trains: World, point: str) -> None:
    points = Points()
    watch(trains, points)
    daemon = await trains.start(loops=False)
    job_id = await daemon.submit()
    points.stop_at(point)
    daemon.loop = asyncio.create_task(daemon.run())
    await points.reached.wait()
    stopping = asyncio.create_task(daemon.stop())
    await asyncio.sleep(0)
    points.go_on()
    await stopping
    await daemon.stop()
    await goes_on(trains, job_id)


async def goes_on(world: World, job_id: str) -> None:
    unwatch(world)
    async with world.daemon() as daemon:
        job = await daemon.ended(job_id)
        await was_done_once(daemon, job_id)
        assert (job.state, job.reason) == (State.SUCCEEDED, "")


async def was_done_once(daemon: Daemon, job_id: str) -> None:
    job = await daemon.job(job_id)
    assert len(job.steps[0].attempts) == 1
    attempt = job.steps[0].attempts[0].id.replace("_", "-")
    names = [f"trainbox-{daemon.store.instance}-{attempt}-{role}" for role in ("step", "check")]
    assert sorted(daemon.host.created) == sorted(names)
    events = await daemon.events(job_id)
    assert [e.data["value"] for e in events if e.kind == "metric"] == [0, 1, 2, 3, 4]
    assert [e.data["state"] for e in events if e.kind == "state"] == [
        "queued",
        "preparing",
        "running",
        "collecting",
        "verifying",
        "succeeded",
    ]
    assert [e.kind for e in events].count("model") == 1
    assert len(await daemon.store.jobs.artifacts(job_id)) == 1
    assert len((await daemon.store.models.list(owner=None)).items) == 1
    nothing_is_left(daemon)


def nothing_is_left(daemon: Daemon) -> None:
    assert not daemon.host.sandboxes
    for folder in ("sandboxes", "scratch"):
        assert not list((daemon.world.state_dir / folder).iterdir())


async def test_a_driver_that_misses_a_stop_is_told_again(trains: World, monkeypatch) -> None:
    monkeypatch.setattr("trainbox.engine.supervisor.STOP_S", 0.02)
    deaf = []

    class Deaf(FakeBackend):
        async def wait(self, spec):
            try:
                return await super().wait(spec)
            except asyncio.CancelledError:
                if not deaf:
                    deaf.append(True)
                    return await super().wait(spec)
                raise

    trains.make_backend = Deaf
    trains.host.default = replace(TRAINS, run_for_s=None)
    daemon = await trains.start()
    await daemon.until(await daemon.submit(), State.RUNNING)
    while not [call for call in trains.host.calls if call[0] == "wait"]:
        await asyncio.sleep(0.005)
    await daemon.stop()
    assert deaf
    assert not daemon.supervisor.attempts()
