"""The control: without a filter the same attacks get through, so that a pass means something."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from arena import NewArena
from attack import Attack, Verdict, verdict
from catalogue import BATCH, BATCH_LIMITS

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("hostile-docker-filtered"),
]
GET_THROUGH = {
    *("new_namespaces", "new_namespaces_by_clone", "new_namespaces_by_clone3"),
    *("ptrace_a_neighbour", "io_uring", "keyrings", "modify_ldt", "personality"),
    *("calls_of_32_bits", "sockets_by_32_bit_socketcall", "sockets_to_the_hypervisor"),
    *("netlink_of_the_kernel", "hidden_memory", "queues_of_messages", "watches_of_files"),
}
OPEN = tuple(attack for attack in BATCH if attack.name in GET_THROUGH)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(new_arena: NewArena) -> AsyncIterator[dict[str, tuple[Verdict, object]]]:
    async with new_arena("docker-open") as arena:
        found = await arena.try_together(OPEN, BATCH_LIMITS)
        yield {attack.name: verdict(attack, found[attack.name]) for attack in OPEN}


@pytest.mark.parametrize("attack", OPEN, ids=lambda attack: attack.name)
async def test_gets_through_without_a_filter(
    outcomes: dict[str, tuple[Verdict, object]], attack: Attack
) -> None:
    found, broke = outcomes[attack.name]
    assert found is Verdict.NOT_CONTAINED
    assert broke, "and it is said how"
