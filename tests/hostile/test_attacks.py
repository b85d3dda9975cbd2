"""The hostile suite: one catalogue of attacks, tried wherever a sandbox can start.

Attacks that end by themselves share one sandbox; the others get one each. Docker must contain all;
what the process backend does is held against the table in ``docs/sandbox-attacks.md``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from arena import Arena, NewArena
from attack import Attack, Outcome
from catalogue import ALONE, BATCH, BATCH_LIMITS
from page import held

pytestmark = [pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]


def kind(name: str, *marks: pytest.MarkDecorator) -> object:
    """One kind of arena; its tests stay together, since they share sandboxes."""
    return pytest.param(name, marks=[*marks, pytest.mark.xdist_group(f"hostile-{name}")])


KINDS = [
    kind("docker-cold", pytest.mark.docker),
    kind("docker-warm", pytest.mark.docker),
    kind("process"),
]
Alone = dict[str, asyncio.Task[Outcome | None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def arena(request: pytest.FixtureRequest, new_arena: NewArena) -> AsyncIterator[Arena]:
    async with new_arena(request.param) as arena:
        yield arena


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def batch(arena: Arena) -> dict[str, Outcome]:
    return await arena.try_together(BATCH, BATCH_LIMITS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(arena: Arena, request: pytest.FixtureRequest) -> AsyncIterator[Alone]:
    """Those of the attacks that this session asks for, begun together."""
    wanted = {
        item.callspec.params["attack"].name
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and item.callspec.params.get("arena") == arena.kind
        and "attack" in item.callspec.params
    }
    begun = arena.begin([attack for attack in ALONE if attack.name in wanted])
    yield begun
    for task in begun.values():
        task.cancel()
    await asyncio.gather(*begun.values(), return_exceptions=True)


@pytest.mark.parametrize("attack", BATCH, ids=lambda attack: attack.name)
async def test_attack_that_ends_by_itself(
    arena: Arena, batch: dict[str, Outcome], attack: Attack
) -> None:
    held(arena.kind, attack, batch[attack.name])


@pytest.mark.parametrize("attack", ALONE, ids=lambda attack: attack.name)
async def test_attack_alone(arena: Arena, alone: Alone, attack: Attack) -> None:
    held(arena.kind, attack, await alone[attack.name])
