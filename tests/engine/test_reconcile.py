"""The reconciler adopts what should run and removes what should not, and nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rooms import TRAINS, World

from trainbox.clock import now
from trainbox.engine.reconcile import orphans
from trainbox_sdk.backends import Limits, Observation, Paths, Phase, SandboxRef, SandboxSpec
from trainbox_sdk.errors import BackendUnavailable
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeSandbox, FakeScript


def stray(world: World, instance: str, attempt: str = "att_stray") -> str:
    """Put a sandbox into the world that no row of the store speaks of."""
    ref = SandboxRef(instance, "job_x", attempt)
    where = world.state_dir
    paths = Paths(where, None, where, where, where, where / "events", where / "log", where)
    spec = SandboxSpec(ref, "fake:0", ("-c", ""), paths, Limits(), now() + timedelta(hours=1))
    world.host.sandboxes[ref.name] = FakeSandbox(spec, FakeScript(run_for_s=None), Phase.RUNNING)
    return ref.name


async def test_removes_orphans_of_this_instance_and_no_others(world: World) -> None:
    async with world.daemon() as daemon:
        ours = stray(world, daemon.store.instance)
        theirs = stray(world, "0123456789ab")
        await daemon.reconciler.look()
        assert set(world.host.sandboxes) == {theirs}
        assert ("remove", ours) in world.host.calls


async def test_leaves_running_jobs_alone_and_a_second_look_does_nothing(world: World) -> None:
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.until(job_id, State.RUNNING)
        before = await daemon.events(job_id)
        world.host.calls.clear()
        for _ in range(3):
            await daemon.reconciler.look()
        done = {verb for verb, _ in world.host.calls}
        assert "observe" in done
        assert not done & {"prepare", "start", "stop", "remove"}
        assert await daemon.events(job_id) == before
        assert (await daemon.job(job_id)).state is State.RUNNING


async def test_removes_the_sandbox_of_an_ended_attempt(world: World) -> None:
    async with world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit())
        attempt = job.steps[0].attempts[0].id
        name = stray(world, daemon.store.instance, attempt)
        await daemon.reconciler.look()
        assert name not in world.host.sandboxes


async def test_sweeps_folders_that_no_attempt_owns(world: World) -> None:
    async with world.daemon() as daemon:
        for name in ("att_old-step", "att_old-check", "att_old-check-2"):
            (world.state_dir / "sandboxes" / name / "output").mkdir(parents=True)
        world.host.default = FakeScript(run_for_s=None)
        job_id = await daemon.submit()
        job = await daemon.until(job_id, State.RUNNING)
        await daemon.reconciler.look()
        kept = [path.name for path in (world.state_dir / "sandboxes").iterdir()]
        assert kept == [f"{job.steps[0].attempts[0].id}-step"]


async def test_keeps_folders_while_an_engine_could_not_be_looked_at(world: World) -> None:
    """The folder may hold what a backend needs to stop its sandbox."""
    async with world.daemon() as daemon:
        folder = world.state_dir / "sandboxes" / "att_old-step"
        folder.mkdir(parents=True)
        world.host.away = True
        await daemon.reconciler.look()
        assert folder.exists()
        world.host.away = False
        await daemon.reconciler.look()
        assert not folder.exists()


async def test_a_backend_with_a_fault_stops_no_daemon(world: World) -> None:
    class Faulty(FakeBackend):
        async def observe(self):
            raise KeyError("a plugin's fault")

    world.make_backend = Faulty
    async with world.daemon() as daemon:
        folder = world.state_dir / "sandboxes" / "att_old-step"
        folder.mkdir(parents=True)
        await daemon.reconciler.look()
        assert folder.exists()
        assert (await daemon.ended(await daemon.submit())).state is State.SUCCEEDED


async def test_a_sandbox_made_while_it_looks_is_not_reaped(world: World) -> None:
    """It lists first and asks the store then; a job may begin in between."""
    looked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(FakeBackend):
        async def observe(self):
            seen = dict(await super().observe())
            if self.slow:
                looked.set()
                await go_on.wait()
                seen |= await super().observe()
            return seen

        slow = False

    world.make_backend = Slow
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        daemon.registry.backends["fake"].slow = True
        looking = asyncio.create_task(daemon.reconciler.look())
        await looked.wait()
        job_id = await daemon.submit()
        await daemon.until(job_id, State.RUNNING)
        go_on.set()
        await looking
        assert len(world.host.sandboxes) == 1
        assert (await daemon.job(job_id)).state is State.RUNNING


async def test_a_folder_made_while_it_sweeps_is_kept(world: World, monkeypatch) -> None:
    listed, go_on = asyncio.Event(), asyncio.Event()
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        read = daemon.store.jobs.active_steps
        reads = 0

        async def slow_read():
            nonlocal reads
            reads += 1
            steps = await read()
            if reads == 3:  # the sweep's: after adoption's and the reaper's
                listed.set()
                await go_on.wait()
            return steps

        monkeypatch.setattr(daemon.reconciler._store.jobs, "active_steps", slow_read)
        looking = asyncio.create_task(daemon.reconciler.look())
        await listed.wait()
        monkeypatch.setattr(daemon.reconciler._store.jobs, "active_steps", read)
        job_id = await daemon.submit()
        job = await daemon.until(job_id, State.RUNNING)
        go_on.set()
        await looking
        assert (world.state_dir / "sandboxes" / f"{job.steps[0].attempts[0].id}-step").is_dir()


async def test_an_engine_that_goes_away_while_it_reaps_does_not_stop_the_start(
    world: World,
) -> None:
    async with world.daemon() as daemon:
        instance = daemon.store.instance
    stray(world, instance)
    world.host.fail_next("remove", 1)
    async with world.daemon() as daemon:
        assert world.host.sandboxes
        await daemon.reconciler.look()
        assert not world.host.sandboxes


async def test_scratch_of_steps_that_ended_for_good_goes_at_the_start(world: World) -> None:
    world.host.on(TRAINS, FakeScript(exit_code=1), role="step")
    async with world.daemon() as daemon:
        fine = await daemon.ended(await daemon.submit())
        failed = await daemon.ended(await daemon.submit())
    for step_id in (fine.steps[0].id, failed.steps[0].id, "stp_unknown"):
        (world.state_dir / "scratch" / step_id).mkdir(exist_ok=True)
    async with world.daemon():
        kept = [path.name for path in (world.state_dir / "scratch").iterdir()]
        assert kept == [failed.steps[0].id]


async def test_a_tree_shaped_to_resist_is_removed(world: World, request) -> None:
    # Were it not, pytest's own clean-up could not remove it either.
    remove = ["rm", "-rf", str(world.state_dir)]
    request.addfinalizer(lambda: subprocess.run(remove, check=True))
    async with world.daemon() as daemon:
        folder = world.state_dir / "sandboxes" / "att_old-step"
        folder.mkdir(parents=True)
        outside = world.state_dir / "outside"
        outside.mkdir()
        (outside / "kept").touch()
        (folder / "link").symlink_to(outside)
        (folder / "new\nline").touch()
        (folder / "-rf").touch()
        closed = folder / "closed"
        closed.mkdir(mode=0o000)
        deep(folder, 1500)
        await daemon.reconciler.look()
        assert not folder.exists()
        assert (outside / "kept").exists()


def deep(folder: Path, depth: int) -> None:
    """Nest directories far beyond the longest path; one level at a time, by descriptor."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("a" * 100, dir_fd=fd)
        inner = os.open("a" * 100, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


async def test_the_loop_goes_on_after_an_outage(world: World) -> None:
    looks = []

    class Flaky(FakeBackend):
        async def observe(self):
            looks.append(len(looks))
            if len(looks) < 4:
                raise BackendUnavailable("away")
            return await super().observe()

    world.make_backend = Flaky
    async with world.daemon() as daemon:
        loop = asyncio.create_task(daemon.reconciler.run(0.001))
        while len(looks) < 6:
            await asyncio.sleep(0.001)
        assert not loop.done()
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


attempts = st.sampled_from([f"att_{n}" for n in range(6)])
sandboxes = st.sets(st.tuples(attempts, st.sampled_from(["step", "check", "check-2"])))


@given(sandboxes, st.sets(attempts))
def test_orphans_are_those_nobody_wants_and_removing_them_leaves_none(sandboxes, wanted) -> None:
    refs = [SandboxRef("i", "job", attempt, role) for attempt, role in sandboxes]
    seen = {ref.name: Observation(ref, Phase.RUNNING) for ref in refs}
    found = {look.ref.name for look in orphans(seen, wanted)}
    assert found == {ref.name for ref in refs if ref.attempt_id not in wanted}
    left = {name: look for name, look in seen.items() if name not in found}
    assert orphans(left, wanted) == ()


@pytest.mark.parametrize("phase", list(Phase))
def test_an_orphan_is_one_in_any_phase(phase: Phase) -> None:
    look = Observation(SandboxRef("i", "job", "att_1"), phase)
    assert orphans({look.ref.name: look}, set()) == (look,)
    assert orphans({look.ref.name: replace(look, exit_code=0)}, {"att_1"}) == ()
