"""Which step starts, in what order, and what the others are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rooms import Drawn, World, a_step

from trainbox.ids import new_id
from trainbox.store.records import NewJob
from trainbox_sdk.backends import Capacity
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.testing.fake_backend import FakeScript

GIB = 1024**3
FOREVER = FakeScript(run_for_s=None)


async def reasons(daemon, *jobs: str) -> list[str]:
    return [(await daemon.job(job_id)).reason_code for job_id in jobs]


async def waiting_events(daemon, job_id: str) -> list[str]:
    events = await daemon.events(job_id)
    return [e.data["reason_code"] for e in events if e.kind == "waiting"]


async def test_priority_then_age(world: World) -> None:
    world.host.capacity = Capacity(cpus=1.0, memory_bytes=16 * GIB)
    async with world.daemon(loops=False) as daemon:
        wanted = {}
        for priority in (0, 5, 0, 5, -5):
            wanted[await daemon.submit(priority=priority)] = priority
        daemon.loop = asyncio.create_task(daemon.run())
        for job_id in wanted:
            await daemon.ended(job_id)
        events = await daemon.store.events.after(0, job_id=None, limit=1000)
        started = [e.job_id for e in events if e.data.get("state") == "preparing"]
        assert started == sorted(wanted, key=lambda job_id: -wanted[job_id])


async def test_the_first_in_line_holds_its_place(world: World) -> None:
    world.host.capacity = Capacity(cpus=2.0, memory_bytes=16 * GIB)
    world.host.default = FOREVER
    async with world.daemon() as daemon:
        small = await daemon.submit()
        await daemon.until(small, State.RUNNING)
        large = await daemon.submit(resources={"cpus": 2})
        while await reasons(daemon, large) != ["no_capacity"]:
            await asyncio.sleep(0.005)
        assert (await daemon.job(large)).reason == "waits for 2 CPUs (free: 1)"
        late = await daemon.submit()
        while await reasons(daemon, late) != ["behind"]:
            await asyncio.sleep(0.005)
        await daemon.cancel(small)
        await daemon.until(large, State.RUNNING)
        assert (await daemon.job(late)).state is State.QUEUED


async def test_one_that_can_never_fit_holds_nobody_up(world: World) -> None:
    world.host.default = FOREVER
    async with world.daemon(loops=False) as daemon:
        huge = await daemon.submit(resources={"cpus": 4}, priority=9)
        world.host.capacity = Capacity(cpus=2.0, memory_bytes=16 * GIB)
        small = await daemon.submit()
        daemon.loop = asyncio.create_task(daemon.run())
        await daemon.until(small, State.RUNNING)
        job = await daemon.job(huge)
        assert (job.state, job.reason_code) == (State.QUEUED, "never_fits")
        assert job.reason == (
            "waits for 4 CPUs (free: 2), more than backend fake has in all; "
            "cancel it and ask for less"
        )
        world.host.capacity = Capacity(cpus=8.0, memory_bytes=16 * GIB)
        daemon.scheduler.wake()
        await daemon.until(huge, State.RUNNING)


async def test_a_reason_is_written_once_until_it_changes(world: World) -> None:
    world.host.capacity = Capacity(cpus=2.0, memory_bytes=16 * GIB)
    world.host.default = FOREVER
    async with world.daemon(loops=False) as daemon:
        first = await daemon.submit(resources={"cpus": 1.5})
        await daemon.scheduler.look()
        large = await daemon.submit(resources={"cpus": 2})
        late = await daemon.submit()
        for _ in range(5):
            await daemon.scheduler.look()
        assert await waiting_events(daemon, large) == ["no_capacity"]
        assert await waiting_events(daemon, late) == ["behind"]
        # A job of the same need in another's place: what is free is news.
        await daemon.cancel(first)
        await daemon.idle()
        world.host.capacity = replace(world.host.capacity, cpus=2.5)
        second = await daemon.submit(resources={"cpus": 1}, priority=9)
        await daemon.scheduler.look()
        assert (await daemon.job(second)).state is not State.QUEUED
        for _ in range(5):
            await daemon.scheduler.look()
        assert (await daemon.job(large)).reason == "waits for 2 CPUs (free: 1.5)"
        assert await waiting_events(daemon, large) == ["no_capacity", "no_capacity"]
        assert await waiting_events(daemon, late) == ["behind"]


async def test_an_engine_that_is_away_is_said_once_and_noticed_when_back(world: World) -> None:
    world.host.away = True
    async with world.daemon(loops=False) as daemon:
        job_id = await daemon.submit()
        for _ in range(5):
            await daemon.scheduler.look()
        assert await waiting_events(daemon, job_id) == ["backend_unavailable"]
        assert "the fake engine is away" in (await daemon.job(job_id)).reason
        world.host.away = False
        await daemon.scheduler.look()
        job = await daemon.ended(job_id)
        assert (job.state, job.reason) == (State.SUCCEEDED, "")


async def test_a_queue_for_one_engine_does_not_hide_anothers(world: World) -> None:
    world.backends = ("fake", "other")
    async with world.daemon(loops=False) as daemon:
        await queue(daemon, "fake", 300, Resources(cpus=99.0))
        (job_id,) = await queue(daemon, "other", 1, Resources(), priority=-100)
        await daemon.scheduler.look()
        assert (await daemon.ended(job_id)).state is State.SUCCEEDED


async def test_a_job_for_an_engine_that_is_not_loaded_says_so(world: World) -> None:
    async with world.daemon(loops=False) as daemon:
        (job_id,) = await queue(daemon, "gone", 1, Resources())
        await daemon.scheduler.look()
        job = await daemon.job(job_id)
        assert (job.reason_code, job.reason) == (
            "backend_unavailable",
            "backend 'gone' is not loaded",
        )


async def test_a_thousand_queued_jobs_are_looked_at_a_hundred_at_a_time(world: World) -> None:
    world.host.capacity = Capacity(cpus=0.5, memory_bytes=GIB)
    async with world.daemon(loops=False) as daemon:
        jobs = await queue(daemon, "fake", 1000, Resources(cpus=0.5, memory_bytes=GIB))
        running, *_ = jobs
        world.host.default = FOREVER
        await daemon.scheduler.look()
        await daemon.until(running, State.RUNNING)
        for _ in range(3):
            await daemon.scheduler.look()
        events = await daemon.store.events.after(0, job_id=None, limit=10_000)
        assert len([e for e in events if e.kind == "waiting"]) == 100
        assert len(world.host.created) == 1


async def test_nothing_queued_asks_no_engine(world: World) -> None:
    async with world.daemon(loops=False) as daemon:
        world.host.calls.clear()
        await daemon.scheduler.look()
        assert not world.host.calls


async def test_an_engine_with_its_own_queue_gets_everything_at_once(world: World) -> None:
    world.host.capacity = Capacity(cpus=1.0, memory_bytes=GIB, queues=True)
    world.host.default = FOREVER
    async with world.daemon() as daemon:
        jobs = [await daemon.submit() for _ in range(5)]
        for job_id in jobs:
            await daemon.until(job_id, State.RUNNING)


async def test_steps_of_a_graph_wait_without_being_told_of_capacity(world: World) -> None:
    world.install(Drawn("graph", a_step("a", outputs=[]), a_step("b", after=["a"], outputs=[])))
    world.host.default = FOREVER
    async with world.daemon() as daemon:
        job_id = await daemon.submit("graph")
        await daemon.until(job_id, State.RUNNING)
        await daemon.scheduler.look()
        assert (await daemon.job(job_id)).steps[1].reason_code == ""


async def queue(daemon, backend: str, count: int, resources: Resources, priority: int = 0):
    """Store queued jobs without intake, which would refuse some of them."""
    news = [
        NewJob(
            new_id("job"),
            "ann",
            JobSpec("train", priority=priority),
            resources,
            backend,
            (a_step(outputs=[]),),
        )
        for _ in range(count)
    ]
    await asyncio.gather(*(daemon.store.jobs.insert(new, audit="test") for new in news))
    return [new.id for new in news]


async def test_a_stop_that_meets_a_wake_up_is_not_lost(world: World) -> None:
    """The daemon would wait for this loop for ever."""
    async with world.daemon(loops=False) as daemon:
        loop = asyncio.create_task(daemon.scheduler.run())
        for _ in range(20):
            await asyncio.sleep(0.005)  # until it has looked and waits
        daemon.scheduler.wake()
        loop.cancel()
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert loop.cancelled()
