"""A job's log is one run of bytes: every byte once, at a place that does not move."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from rooms import ANN, BOB, Drawn, World, a_step

from trainbox.engine.facade import EngineFacade
from trainbox_sdk.errors import NotFound
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_backend import FakeScript


def facade(daemon) -> EngineFacade:
    """Only what logs need of it: predictions and uploads have rooms of their own."""
    return EngineFacade(SimpleNamespace(access=daemon.access, files=daemon.files))  # type: ignore[arg-type]


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
