"""What an earlier attempt, or nobody knows who, left where the daemon hands paths over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from arena import Arena, NewArena
from attack import Attack
from catalogue import ALONE

from trainbox_sdk.errors import BackendRejected
from trainbox_sdk.testing.backend import LIMITS

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("hostile-docker-handover"),
]
HARMLESS: Attack = next(attack for attack in ALONE if attack.name == "escapes_in_the_log")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(new_arena: NewArena) -> AsyncIterator[Arena]:
    async with new_arena("docker-cold") as arena:
        yield arena


async def test_link_planted_in_scratch_by_an_earlier_attempt_is_not_followed(
    arena: Arena, host_folder: Path
) -> None:
    """Handing the directories over to the guest must not hand over what a link points at."""
    mine = host_folder / "mine"
    mine.mkdir()
    spec = arena.spec([HARMLESS], LIMITS, {})
    (spec.paths.scratch / "link").symlink_to(mine)
    await arena.run(spec)
    assert mine.stat().st_uid == os.getuid()
    swapped = arena.spec([HARMLESS], LIMITS, {})
    other = host_folder / "other-link"
    other.symlink_to(mine)
    with pytest.raises(BackendRejected):
        await arena.backend.prepare(replace(swapped, paths=replace(swapped.paths, scratch=other)))
    assert mine.stat().st_uid == os.getuid()


async def test_fifo_in_place_of_the_events_file_is_refused(arena: Arena) -> None:
    spec = arena.spec([HARMLESS], LIMITS, {})
    spec.paths.events.unlink()
    os.mkfifo(spec.paths.events)
    async with asyncio.timeout(10):
        with pytest.raises(BackendRejected, match="regular file"):
            await arena.backend.prepare(spec)


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH"])
async def test_loader_variable_from_a_request_is_refused(arena: Arena, name: str) -> None:
    with pytest.raises(BackendRejected, match="loader"):
        await arena.backend.prepare(arena.spec([HARMLESS], LIMITS, {name: "/trainbox/out/evil.so"}))
