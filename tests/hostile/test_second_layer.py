"""The engine's own profile, and the filter that the guest puts on from inside.

Docker 20.10's default lets io_uring, ptrace and AF_VSOCK through: what the allow-list stops, the
second layer must stop as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from arena import NewArena
from attack import Attack, Outcome, Verdict, verdict
from catalogue import BATCH, BATCH_LIMITS

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("hostile-docker-filtered"),
]
FILTERED = tuple(attack for attack in BATCH if "seccomp" in attack.stopped_by)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(new_arena: NewArena) -> AsyncIterator[dict[str, tuple[Verdict, object]]]:
    async with new_arena("docker-filtered") as arena:
        found: dict[str, Outcome] = await arena.try_together(FILTERED, BATCH_LIMITS)
        yield {a.name: verdict(a, found[a.name]) for a in FILTERED}


@pytest.mark.parametrize("attack", FILTERED, ids=lambda attack: attack.name)
async def test_filter_from_inside_stops(
    outcomes: dict[str, tuple[Verdict, object]], attack: Attack
) -> None:
    found, broke = outcomes[attack.name]
    assert found is Verdict.CONTAINED, broke
