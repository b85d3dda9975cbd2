"""An engine that maps user ids, and gVisor: the same attacks, on an engine of their own.

Both are a matter of the host. Where they cannot be, the tests fail and say so, unless
``TRAINBOX_TEST_WITHOUT_USERNS=1`` or ``TRAINBOX_TEST_WITHOUT_GVISOR=1`` says that this is known.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from arena import Arena, NewArena
from attack import Attack, Outcome, Verdict, verdict
from catalogue import ALONE, BATCH, BATCH_LIMITS
from page import held
from second_engine import SecondEngine, second_engine

from trainbox_sdk.backends import Level

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("hostile-second-engine"),
]
SOME_ALONE = ("disk_burst", "links_and_special_files", "fork_bomb")
APART = ("threads", "processes", "kill_init")
"""What ends a whole sandbox of gVisor where another kernel refuses a call: one each."""
SHARED = tuple(attack for attack in BATCH if attack.name not in APART)


@pytest.fixture(scope="module")
def engine() -> Iterator[SecondEngine]:
    if os.environ.get("TRAINBOX_TEST_WITHOUT_USERNS"):
        pytest.skip("TRAINBOX_TEST_WITHOUT_USERNS is set")
    with second_engine() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def remapped(engine: SecondEngine, new_arena: NewArena) -> AsyncIterator[Arena]:
    async with new_arena("docker-remapped", engine.url, engine.image) as arena:
        yield arena


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gvisor(engine: SecondEngine, new_arena: NewArena) -> AsyncIterator[Arena]:
    if os.environ.get("TRAINBOX_TEST_WITHOUT_GVISOR"):
        pytest.skip("TRAINBOX_TEST_WITHOUT_GVISOR is set")
    assert shutil.which("runsc"), "gVisor is not installed: apt-get install runsc"
    async with new_arena("gvisor", engine.url, engine.image) as arena:
        yield arena


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_remapped(remapped: Arena) -> dict[str, Outcome]:
    return await remapped.try_together(BATCH, BATCH_LIMITS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_gvisor(gvisor: Arena) -> dict[str, Outcome]:
    return await gvisor.try_together(SHARED, BATCH_LIMITS)


def alone(name: str) -> Attack:
    return next(attack for attack in (*ALONE, *BATCH) if attack.name == name)


async def told(arena: Arena, promise: str) -> str:
    found = {p.name: p for p in (await arena.backend.probe()).promises}[promise]
    assert found.level is Level.ENFORCED
    return found.how


# --- user ids mapped


async def test_mapping_is_told(remapped: Arena) -> None:
    health = await remapped.backend.probe()
    assert health.ok, health.detail
    assert health.sees_mounts
    assert "userns-remap" in await told(remapped, "user")


async def test_guest_is_nobody_on_the_host_even_as_itself(remapped: Arena) -> None:
    outcome = await remapped.try_alone(alone("escapes_in_the_log"))
    assert outcome is not None
    assert outcome.output.stat().st_uid > 65536
    assert outcome.spec.paths.events.stat().st_uid == outcome.output.stat().st_uid


@pytest.mark.parametrize("attack", BATCH, ids=lambda attack: attack.name)
async def test_attack_with_mapped_ids(on_remapped: dict[str, Outcome], attack: Attack) -> None:
    found, broke = verdict(attack, on_remapped[attack.name])
    assert found is Verdict.CONTAINED, broke


@pytest.mark.parametrize("name", SOME_ALONE)
async def test_attack_alone_with_mapped_ids(remapped: Arena, name: str) -> None:
    found, broke = verdict(alone(name), await remapped.try_alone(alone(name)))
    assert found is Verdict.CONTAINED, broke


# --- gVisor


async def test_runtime_is_told(gvisor: Arena) -> None:
    assert "gVisor" in await told(gvisor, "runtime")
    assert "second filter" in await told(gvisor, "seccomp")


@pytest.mark.parametrize("attack", SHARED, ids=lambda attack: attack.name)
async def test_attack_on_gvisor(on_gvisor: dict[str, Outcome], attack: Attack) -> None:
    held("gvisor", attack, on_gvisor[attack.name])


@pytest.mark.parametrize("name", APART)
async def test_attack_that_may_end_the_sandbox_on_gvisor(gvisor: Arena, name: str) -> None:
    outcome = await gvisor.try_alone(alone(name))
    assert outcome is not None
    assert outcome.seen.exit_code is not None, "it ends, whatever it does"


@pytest.mark.parametrize("name", SOME_ALONE)
async def test_attack_alone_on_gvisor(gvisor: Arena, name: str) -> None:
    held("gvisor", alone(name), await gvisor.try_alone(alone(name)))
