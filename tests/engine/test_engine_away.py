"""The engine, the daemon or the disk is away for a while: unknown is not lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from points import Points, crash, unwatch, watch
from rooms import REPORT, TRAINS, Daemon, World

from trainbox.clock import now
from trainbox.store import Store
from trainbox_sdk.backends import Phase
from trainbox_sdk.errors import StorageFull
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeScript

WAITS = FakeScript(waits_for="go", outputs={"model.onnx": b"onnx"}, result=REPORT)


def let_go(world: World) -> None:
    for folder in (world.state_dir / "scratch").iterdir():
        (folder / "go").touch()


async def warnings(daemon: Daemon, job_id: str) -> list[str]:
    return [e.data["text"] for e in await daemon.events(job_id) if e.kind == "warning"]


class TestTheEngine:
    @pytest.mark.parametrize("verb", ["build_environment", "prepare", "start", "wait", "remove"])
    async def test_fails_a_call_and_the_job_succeeds_once(self, world: World, verb: str) -> None:
        world.host.fail_next(verb, 2)
        async with world.daemon() as daemon:
            job = await daemon.ended(await daemon.submit())
            assert job.state is State.SUCCEEDED
            assert len(world.host.created) == 2
            # One warning for an outage, however many calls it fails.
            assert await warnings(daemon, job.id) == [
                "the fake engine is away; will go on when it answers"
            ]

    async def test_is_away_when_a_job_comes(self, world: World) -> None:
        world.host.away = True
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            while (await daemon.job(job_id)).reason_code != "backend_unavailable":
                await asyncio.sleep(0.005)
            assert "the fake engine is away" in (await daemon.job(job_id)).reason
            world.host.away = False
            daemon.scheduler.wake()
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED

    async def test_goes_away_while_a_job_runs_and_comes_back(self, world: World) -> None:
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
            world.host.away = True
            while not await warnings(daemon, job_id):
                await asyncio.sleep(0.005)
            assert (await daemon.job(job_id)).state is State.RUNNING
            let_go(world)
            world.host.away = False
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED

    async def test_is_away_when_the_daemon_starts(self, world: World) -> None:
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
        world.host.away = True
        async with world.daemon() as daemon:
            await daemon.reconciler.look()
            assert (await daemon.job(job_id)).state is State.RUNNING
            let_go(world)
            world.host.away = False
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED
            assert len(world.host.created) == 2

    @pytest.mark.parametrize("exit_code", [137, 143, 255])
    async def test_restarts_and_takes_the_sandbox_with_it(
        self, world: World, exit_code: int
    ) -> None:
        world.host.default = replace(WAITS, exit_code=exit_code)
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
            world.host.away = True
            while not await warnings(daemon, job_id):
                await asyncio.sleep(0.005)
            let_go(world)
            world.host.away = False
            job = await daemon.ended(job_id)
            assert (job.state, job.reason_code) == (State.INTERRUPTED, "engine_restarted")

    async def test_restarts_while_the_daemon_is_away_too(self, world: World) -> None:
        """A host that rebooted: nobody saw the engine go, and still the code did not fail."""
        world.host.default = replace(WAITS, exit_code=255)
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
        let_go(world)
        async with world.daemon() as daemon:
            job = await daemon.ended(job_id)
            assert (job.state, job.reason_code) == (State.INTERRUPTED, "engine_restarted")

    async def test_breaks_in_a_way_no_contract_knows(self, world: World) -> None:
        class Broken(FakeBackend):
            async def probe(self):
                raise RuntimeError("a bug in a plugin")

        world.make_backend = Broken
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            while (await daemon.job(job_id)).reason_code != "backend_unavailable":
                await asyncio.sleep(0.005)
            assert "a bug in a plugin" in (await daemon.job(job_id)).reason


class TestTheDaemon:
    async def test_misses_the_end_of_a_sandbox(self, world: World) -> None:
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
        let_go(world)
        async with world.daemon() as daemon:
            job = await daemon.ended(job_id)
            assert job.state is State.SUCCEEDED
            assert len(job.steps[0].attempts) == 1

    async def test_misses_the_removal_of_a_sandbox(self, world: World) -> None:
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
        world.host.sandboxes.clear()
        async with world.daemon() as daemon:
            job = await daemon.ended(job_id)
            assert (job.state, job.reason_code) == (State.INTERRUPTED, "sandbox_lost")
            world.host.default = TRAINS
            await daemon.retry(job_id)
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED

    async def test_misses_the_deadline_of_a_job_that_ended_in_time(self, world: World) -> None:
        """It came back too late to stop it, and there was nothing to stop."""
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit(resources={"timeout_s": 0.5})
            await daemon.until(job_id, State.RUNNING)
        let_go(world)
        (sandbox,) = world.host.sandboxes.values()
        sandbox.look()
        assert sandbox.phase is Phase.EXITED
        await asyncio.sleep(0.6)
        async with world.daemon() as daemon:
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED

    async def test_misses_the_deadline_of_a_job_that_still_runs(self, world: World) -> None:
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit(resources={"timeout_s": 0.3})
            await daemon.until(job_id, State.RUNNING)
        await asyncio.sleep(0.4)
        async with world.daemon() as daemon:
            job = await daemon.ended(job_id)
            assert (job.state, job.reason_code) == (State.FAILED, "timeout")

    async def test_restarts_and_the_deadline_stays(self, world: World) -> None:
        world.host.default = WAITS
        deadlines = []
        for _ in range(2):
            async with world.daemon() as daemon:
                if not deadlines:
                    job_id = await daemon.submit(resources={"timeout_s": 100})
                await daemon.until(job_id, State.RUNNING)
                (step,) = await daemon.store.jobs.active_steps()
                deadlines.append(step.deadline_at)
        assert deadlines[0] == deadlines[1]
        assert timedelta(seconds=90) < deadlines[0] - now() < timedelta(seconds=100)

    async def test_reads_on_where_it_stopped_reading(self, world: World) -> None:
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
            (sandbox,) = world.host.sandboxes.values()
            path = sandbox.spec.paths.events
            with path.open("ab") as file:
                file.write(b'{"t":"metric","at":1,"name":"a","value":1}\n{"t":"metric","at":2,')
            while (await daemon.job(job_id)).metrics != {"a": 1}:
                await asyncio.sleep(0.005)
        with path.open("ab") as file:
            file.write(b'"name":"a","value":2}\n{"t":"metric","at":3,"name":"a","value":3}\n')
        let_go(world)
        async with world.daemon() as daemon:
            await daemon.ended(job_id)
            events = await daemon.events(job_id)
            assert [e.data["value"] for e in events if e.kind == "metric"] == [1, 2, 3]

    async def test_events_of_the_last_moment_are_read_whole(self, world: World) -> None:
        """The sandbox dies while a batch is being committed, and has written more by then."""
        points = Points()
        watch(world, points)
        points.stop_at("before store.append_guest_events")
        world.host.default = WAITS
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
            (sandbox,) = world.host.sandboxes.values()
            with sandbox.spec.paths.events.open("ab") as file:
                file.write(b'{"t":"metric","at":1,"name":"a","value":1}\n')
                file.flush()
                await points.reached.wait()
                file.write(b'{"t":"metric","at":1,"name":"a","value":2}\n')
            let_go(world)
            await asyncio.sleep(0.03)
            points.go_on()
            job = await daemon.ended(job_id)
            assert (job.state, job.reason_code) == (State.SUCCEEDED, "")
            events = await daemon.events(job_id)
            assert [e.data["value"] for e in events if e.kind == "metric"] == [1, 2]

    async def test_dies_twice_and_the_retry_still_has_one_sandbox(self, world: World) -> None:
        """A daemon that died between an end and its clean-up left a sandbox of that attempt."""
        points = Points()
        watch(world, points)
        points.stop_at("after store.transition failed")
        world.host.on(FakeScript(exit_code=1), TRAINS, role="step")
        daemon = await world.start()
        job_id = await daemon.submit()
        await points.reached.wait()
        await crash(daemon, points)
        assert len(world.host.sandboxes) == 1
        unwatch(world)
        world.host.away = True  # the look at the start removes nothing
        daemon = await world.start(loops=False)
        await daemon.retry(job_id)
        world.host.away = False
        daemon.loop = asyncio.create_task(daemon.run())
        job = await daemon.ended(job_id)
        await daemon.stop()
        assert job.state is State.SUCCEEDED
        removed = world.host.calls.index(("remove", world.host.created[0]))
        assert removed < world.host.calls.index(("prepare", world.host.created[1]))


class Full:
    """Lets a store's calls fail for want of room until told otherwise."""

    def __init__(self, *names: str) -> None:
        self.full = True
        self.refused = asyncio.Event()
        self._names = names

    def wrap(self, store: Store) -> Store:
        for name in self._names:
            self._wrap(store, name)
        return store

    def _wrap(self, store: Store, name: str) -> None:
        call = getattr(store.jobs, name)

        async def write(*args, **kwargs):
            if self.full:
                self.refused.set()
                raise StorageFull("no room left for the job store")
            return await call(*args, **kwargs)

        setattr(store.jobs, name, write)


class TestTheDisk:
    @pytest.mark.parametrize(
        "name", ["begin_attempt", "transition", "append_guest_events", "succeed", "append_event"]
    )
    async def test_is_full_at_a_write_and_the_job_waits(self, world: World, name: str) -> None:
        full = Full(name)
        world.wrap_store = full.wrap
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await full.refused.wait()
            await asyncio.sleep(0.05)
            assert not (await daemon.job(job_id)).state.terminal or name == "append_event"
            full.full = False
            daemon.scheduler.wake()
            job = await daemon.ended(job_id)
            assert (job.state, job.reason) == (State.SUCCEEDED, "")
            assert len(job.steps[0].attempts) == 1

    async def test_is_full_when_the_files_are_made(self, world: World, monkeypatch) -> None:
        """No room for the sandbox's own files: the step waits, it does not fail."""
        tries = []
        async with world.daemon() as daemon:
            build = daemon.files._build

            def no_room(request):
                tries.append(request)
                if len(tries) == 1:
                    raise OSError(28, "No space left on device")
                return build(request)

            monkeypatch.setattr(daemon.files, "_build", no_room)
            job = await daemon.ended(await daemon.submit())
            assert job.state is State.SUCCEEDED
            assert "No space left" in (await warnings(daemon, job.id))[0]

    async def test_stays_full_and_a_stop_is_not_held_up(self, world: World, monkeypatch) -> None:
        monkeypatch.setattr("trainbox.engine.drive.STOP_S", 0.05)
        full = Full("succeed")
        world.wrap_store = full.wrap
        daemon = await world.start()
        job_id = await daemon.submit()
        await full.refused.wait()
        await daemon.stop()
        world.wrap_store = lambda store: store
        async with world.daemon() as daemon:
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED
