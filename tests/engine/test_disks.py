"""Steps on disks of limited size: real mounts under a scripted backend, through crashes and retries."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from points import Points, crash, unwatch, watch
from rooms import TRAINS, Daemon, World

from trainbox.disks import Disks, DiskSize
from trainbox.engine.disposal import Disposal
from trainbox_sdk.backends import Health
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeScript

MIB = 1024**2
SIZE = DiskSize(16 * MIB, 1024)
FILLS = FakeScript(exit_code=1, outputs={"junk": b"x" * 13 * MIB})
FAILS = FakeScript(exit_code=1)


class SeesMounts(FakeBackend):
    async def probe(self) -> Health:
        return replace(await super().probe(), sees_mounts=True)


def seeing(backend: FakeBackend) -> FakeBackend:
    probe = backend.probe

    async def sees() -> Health:
        return replace(await probe(), sees_mounts=True)

    backend.probe = sees  # type: ignore[method-assign]
    return backend


def make_disks(state_dir: Path) -> Disks:
    disks = Disks(state_dir / "disks", SIZE, 0)
    disks.open()
    assert disks.trouble == ""
    return disks


@pytest.fixture
def disk_world(world: World) -> Iterator[World]:
    world.make_disks = make_disks
    world.make_backend = SeesMounts
    yield world
    left = make_disks(world.state_dir)
    for key in left.keys() | left.mounted():
        left.discard(key)


def nothing_left(daemon: Daemon) -> bool:
    assert daemon.disks is not None
    return not daemon.disks.mounted() | daemon.disks.keys()


def step_disk(daemon: Daemon) -> str:
    assert daemon.disks is not None
    (key,) = daemon.disks.keys()
    return key


async def test_a_step_and_its_check_have_one_each_and_leave_none(disk_world: World) -> None:
    seen: list[tuple[str, bool, bool]] = []

    def look(spec) -> bool:
        paths = spec.paths
        mounted = paths.output.stat().st_dev != disk_world.state_dir.stat().st_dev
        same = (
            paths.scratch.stat().st_dev == paths.events.stat().st_dev == paths.output.stat().st_dev
        )
        assert spec.limits.output_bytes == SIZE.bytes
        seen.append((spec.ref.role, spec.disk_is_sized, mounted and same))
        return False

    disk_world.host.on(TRAINS, when=look)
    async with disk_world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit())
        assert job.state is State.SUCCEEDED, job.reason
        assert set(seen) == {("step", True, True), ("check", True, True)}
        assert nothing_left(daemon)
        held = job.steps[0].attempts[0].confinement
        assert held["disk"] == "ext4 image of 16 MiB, 1024 files"


async def test_a_failure_on_a_full_disk_is_disk_limit(disk_world: World) -> None:
    disk_world.host.default = FILLS
    async with disk_world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit())
        assert (job.state, job.reason_code) == (State.FAILED, "disk_limit")
        assert "its disk of 16 MiB is full" in job.reason
        assert "exit code 1" in job.reason


async def test_a_failed_step_keeps_its_disk_at_rest_and_a_retry_takes_it_up(
    disk_world: World,
) -> None:
    disk_world.host.default = FILLS
    async with disk_world.daemon() as daemon:
        assert daemon.disks is not None
        job = await daemon.ended(await daemon.submit())
        assert daemon.disks.mounted() == set()
        key = step_disk(daemon)
        assert daemon.disks.room(key) < 4 * MIB  # what it left takes no room
        (daemon.disks.mount(key) / "scratch" / "journal").write_text("kept")
        daemon.disks.rest(key)
        found: list[str] = []

        def look(spec) -> bool:
            if spec.ref.role == "step":
                found.append((spec.paths.scratch / "journal").read_text())
                assert list(spec.paths.output.iterdir()) == []
            return False

        disk_world.host.on(TRAINS, when=look)
        disk_world.host.default = TRAINS
        await daemon.retry(job.id)
        job = await daemon.ended(job.id)
        assert job.state is State.SUCCEEDED, job.reason
        assert set(found) == {"kept"}
        assert nothing_left(daemon)


async def test_scratch_that_fills_its_disk_is_of_no_use_to_a_retry(disk_world: World) -> None:
    def fill(spec) -> bool:
        if spec.ref.role == "step":
            with suppress(OSError), (spec.paths.scratch / "all").open("wb") as file:
                while True:
                    file.write(b"x" * MIB)
        return True

    disk_world.host.on(FAILS, when=fill)
    async with disk_world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit())
        assert (job.state, job.reason_code) == (State.FAILED, "disk_limit")
        assert nothing_left(daemon)


async def test_a_cancelled_step_leaves_none(disk_world: World) -> None:
    disk_world.host.default = FakeScript(run_for_s=None)
    async with disk_world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.until(job_id, State.RUNNING)
        await daemon.cancel(job_id)
        assert (await daemon.ended(job_id)).state is State.CANCELLED
        assert nothing_left(daemon)


@pytest.mark.parametrize(
    "point",
    [
        "before engine.prepare step",
        "after engine.start step",
        "before store.transition collecting",
        "before store.transition verifying",
        "after store.succeed",
    ],
)
async def test_killed_there_the_disk_is_found_again(disk_world: World, point: str) -> None:
    points = Points()
    disk_world.host.default = TRAINS
    watch(disk_world, points)
    make = disk_world.make_backend
    disk_world.make_backend = lambda host: seeing(make(host))
    daemon = await disk_world.start(loops=False)
    job_id = await daemon.submit()
    points.stop_at(point)
    daemon.loop = asyncio.create_task(daemon.run())
    await points.reached.wait()
    await crash(daemon, points)
    if "prepare" not in point and "succeed" not in point:
        assert daemon.disks is not None
        assert len(daemon.disks.mounted()) > 0
    unwatch(disk_world)
    disk_world.make_backend = SeesMounts
    async with disk_world.daemon() as second:
        job = await second.ended(job_id)
        assert job.state is State.SUCCEEDED, job.reason
        await second.reconciler.look()
        assert nothing_left(second)


async def test_what_a_killed_daemon_left_mounted_is_put_to_rest(disk_world: World) -> None:
    disk_world.host.default = FAILS
    async with disk_world.daemon() as daemon:
        assert daemon.disks is not None
        await daemon.ended(await daemon.submit())
        key = step_disk(daemon)
        daemon.disks.mount(key)
        daemon.disks.mount("stp_of_nobody")
        daemon.disks.mount(f"{key}-check")
        await daemon.reconciler.look()
        assert daemon.disks.mounted() == set()
        assert daemon.disks.keys() == {key, "stp_of_nobody"}
    async with disk_world.daemon() as second:  # its first look sweeps what no step owns
        assert second.disks is not None
        assert second.disks.keys() == {key}


async def test_without_a_look_at_mounts_there_is_no_disk_and_the_record_says_why(
    disk_world: World,
) -> None:
    disk_world.make_backend = FakeBackend
    async with disk_world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit())
        assert job.state is State.SUCCEEDED
        told = job.steps[0].attempts[0].confinement["disk"]
        assert told.startswith("watched: its backend does not see")


async def test_below_the_floor_steps_wait_and_say_so(disk_world: World) -> None:
    short = ["waits for disk space: 1 bytes are free, 2 are kept free"]
    disk_world.shortage = lambda: short[0]
    async with disk_world.daemon() as daemon:
        job_id = await daemon.submit()
        while (job := await daemon.job(job_id)).reason_code != "no_space":
            await asyncio.sleep(0.005)
        assert (job.state, job.reason) == (State.QUEUED, short[0])
        short[0] = ""
        daemon.scheduler.wake()
        assert (await daemon.ended(job_id)).state is State.SUCCEEDED


async def test_deleting_a_job_frees_its_disk(disk_world: World) -> None:
    disk_world.host.default = FAILS
    async with disk_world.daemon() as daemon:
        assert daemon.disks is not None
        job = await daemon.ended(await daemon.submit())
        taken = daemon.disks.room(step_disk(daemon))
        assert taken > 0
        disposal = Disposal(daemon.store, daemon.blobs, daemon.files, 3600.0)
        freed = await disposal.delete(job.id, who="ann")
        assert freed.bytes_freed >= taken
        assert nothing_left(daemon)
