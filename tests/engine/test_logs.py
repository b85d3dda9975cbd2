"""A job's log is one run of bytes: every byte once, at a place that does not move."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from rooms import ANN, BOB, Drawn, World, a_step

from trainbox.engine.disposal import Disposal
from trainbox.engine.facade import EngineFacade
from trainbox.engine.log_archive import LogArchive
from trainbox_sdk.errors import NotFound, ValidationFailed
from trainbox_sdk.job_logs import LogFilter, LogLevel
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_backend import FakeScript


def facade(daemon) -> EngineFacade:
    """Only what logs need of it: predictions and uploads have rooms of their own."""
    return EngineFacade(SimpleNamespace(access=daemon.access, files=daemon.files))  # type: ignore[arg-type]


def disposal(daemon) -> Disposal:
    return Disposal(daemon.store, daemon.blobs, daemon.files, 0)


async def read(daemon, job_id: str, **how) -> bytes:
    return b"".join([chunk async for chunk in facade(daemon).logs(ANN, job_id, **how)])


async def test_attempt_after_attempt_and_from_any_byte(world: World) -> None:
    world.host.on(
        FakeScript(exit_code=1, stdout=b"first\n"), FakeScript(exit_code=1, stdout=b"second\n")
    )
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.ended(job_id)
        await daemon.retry(job_id)
        await daemon.ended(job_id)
        whole = b"first\nsecond\n"
        for offset in range(len(whole) + 2):
            assert await read(daemon, job_id, offset=offset) == whole[offset:]


async def test_followed_while_two_steps_print_side_by_side(world: World) -> None:
    world.install(Drawn("fan", a_step("left", outputs=[]), a_step("right", outputs=[])))
    world.host.default = FakeScript(stdout=b"start ", last_words=b"end ", waits_for="go")
    async with world.daemon() as daemon:
        job_id = await daemon.submit("fan")
        while [s.state for s in (await daemon.job(job_id)).steps] != [State.RUNNING] * 2:
            await asyncio.sleep(0.005)
        following = asyncio.create_task(read(daemon, job_id, follow=True))
        early = await read(daemon, job_id)
        for step in reversed((await daemon.job(job_id)).steps):
            (world.state_dir / "scratch" / step.id / "go").touch()
            await asyncio.sleep(0.05)
        await daemon.ended(job_id)
        whole = await read(daemon, job_id)
        assert whole == b"start end start end "
        assert await following == whole
        assert whole.startswith(early)


async def test_of_someone_else_is_not_found(world: World) -> None:
    async with world.daemon() as daemon:
        job_id = await daemon.submit("train", BOB)
        with pytest.raises(NotFound):
            await read(daemon, job_id)


async def test_lines_of_all_attempts_with_their_levels(world: World) -> None:
    world.host.on(
        FakeScript(exit_code=1, stdout=b"one\nWARNING: two\n"),
        FakeScript(exit_code=1, stdout=b"\x1b[31mERROR: three\x1b[0m\n"),
    )
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        await daemon.ended(job_id)
        await daemon.retry(job_id)
        await daemon.ended(job_id)
        desk = facade(daemon)
        found = await desk.log_lines(ANN, job_id, LogFilter(level=LogLevel.WARNING))
        assert [(line.number, line.attempt, line.message) for line in found.lines] == [
            (2, 1, "WARNING: two"),
            (3, 2, "ERROR: three"),
        ]
        assert (found.matching, found.total) == (2, 3)


@pytest.mark.parametrize("which", [LogFilter(limit=0), LogFilter(offset=-1)])
async def test_lines_that_cannot_be_are_refused(world: World, which: LogFilter) -> None:
    async with world.daemon() as daemon:
        job_id = await daemon.submit()
        with pytest.raises(ValidationFailed):
            await facade(daemon).log_lines(ANN, job_id, which)
        await daemon.ended(job_id)


async def test_lines_of_someone_else_are_not_found(world: World) -> None:
    async with world.daemon() as daemon:
        job_id = await daemon.submit("train", BOB)
        with pytest.raises(NotFound):
            await facade(daemon).log_lines(ANN, job_id, LogFilter())


async def test_archive_packs_what_has_ended_and_nothing_else(world: World) -> None:
    world.host.on(
        FakeScript(exit_code=1, stdout=b"ended\n"),
        FakeScript(exit_code=1, stdout=b"running ", last_words=b"end", waits_for="go"),
    )
    async with world.daemon() as daemon:
        archive = LogArchive(daemon.files, daemon.store, daemon.supervisor)
        ended = await daemon.submit()
        await daemon.ended(ended)
        running = await daemon.submit()
        await daemon.until(running, State.RUNNING)
        assert await archive.sweep() == 1
        assert await archive.sweep() == 0
        [step] = (await daemon.job(running)).steps
        assert daemon.files.log(step.attempts[-1].id).exists()
        assert await read(daemon, ended) == b"ended\n"
        lines = await facade(daemon).log_lines(ANN, ended, LogFilter())
        assert [line.message for line in lines.lines] == ["ended"]
        (world.state_dir / "scratch" / step.id / "go").touch()
        await daemon.ended(running)
        assert await archive.sweep() == 1
        assert await read(daemon, running) == b"running end"
        for job_id in (ended, running):
            await disposal(daemon).delete(job_id, who="ann")
        assert list((world.state_dir / "logs").iterdir()) == []
