"""Attacks by amount where there is neither a cgroup nor a disk of fixed size: said as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from arena import Arena, NewArena
from attack import Attack
from catalogue import AMOUNTS
from page import held

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("hostile-process-bare"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(new_arena: NewArena) -> AsyncIterator[Arena]:
    async with new_arena("process-bare") as arena:
        yield arena


@pytest.mark.parametrize("attack", AMOUNTS, ids=lambda attack: attack.name)
async def test_amount_on_a_bare_host(arena: Arena, attack: Attack) -> None:
    held(arena.kind, attack, await arena.try_alone(attack))
