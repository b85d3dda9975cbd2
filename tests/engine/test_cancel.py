"""Someone asks for the end: in every state it comes, once, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest
from points import Points, crash, unwatch, watch
from rooms import Daemon, World

from trainbox.blobs import BlobStore
from trainbox_sdk.backends import Capacity
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeScript


async def is_cancelled(daemon: Daemon, job_id: str) -> None:
    job = await daemon.ended(job_id)
    assert (job.state, job.reason_code) == (State.CANCELLED, "cancelled")
    assert (await daemon.states(job_id))[-1] == "cancelled"
    assert (await daemon.states(job_id)).count("cancelled") == 1
    assert not daemon.host.sandboxes
    assert not await daemon.store.jobs.artifacts(job_id)
    for folder in ("sandboxes", "scratch"):
        assert not list((daemon.world.state_dir / folder).iterdir())


async def test_queued(world: World) -> None:
    world.host.capacity = Capacity(cpus=1.0, memory_bytes=1024**3)
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        first, second = await daemon.submit(), await daemon.submit()
        await daemon.until(first, State.RUNNING)
        await daemon.cancel(second)
        job = await daemon.job(second)
        assert (job.state, job.reason) == (State.CANCELLED, "cancelled by ann")
        assert len(world.host.created) == 1


async def test_preparing_while_its_environment_is_built(world: World) -> None:
    building = asyncio.Event()

    class Slow(FakeBackend):
        async def build_environment(self, environment, report):
            building.set()
            return await asyncio.Event().wait()

    world.make_backend = Slow
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await building.wait()
        await daemon.cancel(job_id)
        await is_cancelled(daemon, job_id)
        assert not world.host.created


@pytest.mark.parametrize("verb", ["prepare", "start"])
async def test_preparing_while_its_sandbox_is_made(world: World, verb: str) -> None:
    """The call is not left half way: it may reach the engine after the sandbox was removed."""
    points = Points()
    watch(world, points)
    points.stop_at(f"before engine.{verb} step")
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await points.reached.wait()
        await daemon.cancel(job_id)
        await asyncio.sleep(0.02)
        points.go_on()
        await is_cancelled(daemon, job_id)
        assert [verb for verb, _ in world.host.calls if verb in ("start", "remove")] == [
            "start",
            "remove",
            "remove",
            "remove",
            "remove",
        ]


async def test_preparing_while_its_engine_is_away(world: World) -> None:
    """Nothing ran yet, so nobody waits for the engine; the removal is made up for later."""
    async with world.daemon() as daemon:
        world.host.fail_next("prepare", 10_000)
        job_id = await daemon.submit()
        await daemon.until(job_id, State.PREPARING)
        world.host.away = True
        await daemon.cancel(job_id)
        job = await daemon.until(job_id, State.CANCELLED)
        assert job.reason_code == "cancelled"
        world.host.away = False
        await is_cancelled(daemon, job_id)


@pytest.mark.parametrize("term_exit_code", [143, 0, None], ids=["dies", "exits 0", "ignores TERM"])
async def test_running(world: World, term_exit_code: int | None) -> None:
    world.host.default = FakeScript(run_for_s=None, term_exit_code=term_exit_code)
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.until(job_id, State.RUNNING)
        await daemon.cancel(job_id)
        await is_cancelled(daemon, job_id)


async def test_collecting(world: World) -> None:
    copying = asyncio.Event()

    class Slow(BlobStore):
        async def put_fd(self, fd, *, max_bytes):
            copying.set()
            return await asyncio.Event().wait()

    world.make_blobs = Slow
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await copying.wait()
        assert (await daemon.job(job_id)).state is State.COLLECTING
        await daemon.cancel(job_id)
        await is_cancelled(daemon, job_id)


async def test_verifying(world: World) -> None:
    world.host.on(FakeScript(run_for_s=None), role="check")
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.until(job_id, State.VERIFYING)
        await daemon.cancel(job_id)
        await is_cancelled(daemon, job_id)


async def test_twice(world: World) -> None:
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.until(job_id, State.RUNNING)
        await asyncio.gather(daemon.cancel(job_id), daemon.cancel(job_id))
        await is_cancelled(daemon, job_id)


async def test_a_job_that_has_ended(world: World) -> None:
    async with world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit())
        with pytest.raises(Conflict, match="already ended"):
            await daemon.cancel(job.id)
        assert (await daemon.job(job.id)).state is State.SUCCEEDED


async def test_a_job_that_is_not_there(world: World) -> None:
    async with world.daemon() as daemon:
        with pytest.raises(NotFound):
            await daemon.cancel("job_nowhere")


async def test_asked_before_a_crash_it_comes_after_it(world: World) -> None:
    points = Points()
    watch(world, points)
    points.stop_at("before engine.stop")
    world.host.default = FakeScript(run_for_s=None)
    daemon = await world.start()
    job_id = await daemon.submit()
    await daemon.until(job_id, State.RUNNING)
    await daemon.cancel(job_id)
    await points.reached.wait()
    await crash(daemon, points)
    unwatch(world)
    async with world.daemon() as daemon:
        await is_cancelled(daemon, job_id)


async def test_a_success_that_comes_first_stays(world: World) -> None:
    points = Points()
    watch(world, points)
    points.stop_at("after store.succeed")
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await points.reached.wait()
        with pytest.raises(Conflict):
            await daemon.cancel(job_id)
        points.go_on()
        assert (await daemon.ended(job_id)).state is State.SUCCEEDED


async def test_asked_while_the_success_is_written_one_of_both_stands(world: World) -> None:
    points = Points()
    watch(world, points)
    points.stop_at("before store.succeed")
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await points.reached.wait()
        await daemon.cancel(job_id)
        points.go_on()
        job = await daemon.ended(job_id)
        ends = [s for s in await daemon.states(job_id) if State(s).terminal]
        assert ends == [job.state]
        assert bool(job.model_id) is (job.state is State.SUCCEEDED)


async def test_asked_for_a_step_whose_backend_is_gone(world: World) -> None:
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.until(job_id, State.RUNNING)
    world.backends = ("other",)
    async with world.daemon() as daemon:
        texts = [e.data["text"] for e in await daemon.events(job_id) if e.kind == "warning"]
        assert "backend 'fake' is not loaded" in texts[0]
        await daemon.cancel(job_id)
        await daemon.reconciler.look()
        job = await daemon.job(job_id)
        assert (job.state, job.reason_code) == (State.CANCELLED, "cancelled")
