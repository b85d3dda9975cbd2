"""What a task may ask for at most, what it gets that asks for nothing, and who runs a user's code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rooms import Drawn, World, a_step

from trainbox_sdk.backends import Capacity, Health
from trainbox_sdk.engine import JobFilter
from trainbox_sdk.errors import ValidationFailed
from trainbox_sdk.jobs import Resources
from trainbox_sdk.testing.fake_backend import FakeBackend

GIB = 1024**3


class Bounded(Drawn):
    """A task with a default larger than small machines, and a most."""

    resources = Resources(cpus=2, memory_bytes=8 * GIB, timeout_s=7200)
    most = Resources(cpus=32, memory_bytes=128 * GIB, gpus=8, timeout_s=86_400)


class Wary(FakeBackend):
    """A backend that runs no user's code."""

    async def probe(self) -> Health:
        return replace(await super().probe(), untrusted=False)


async def test_a_default_is_no_more_than_there_is_and_a_wish_is_never_cut(world: World) -> None:
    world.install(Bounded("script", a_step()))
    world.host.capacity = Capacity(cpus=1.5, memory_bytes=4 * GIB)
    async with world.daemon(loops=False) as daemon:
        job = await daemon.job(await daemon.submit("script"))
        assert (job.resources.cpus, job.resources.memory_bytes) == (1.5, 4 * GIB)
        assert job.resources.timeout_s == 7200
        with pytest.raises(ValidationFailed, match="resources.cpus: 2 is more than backend fake"):
            await daemon.submit("script", resources={"cpus": 2})


@pytest.mark.parametrize(
    ("name", "value"),
    [("cpus", 33), ("memory_bytes", 129 * GIB), ("gpus", 9), ("timeout_s", 86_401)],
)
async def test_more_than_the_most_is_refused_however_much_there_is(
    world: World, name: str, value: float
) -> None:
    world.install(Bounded("script", a_step()))
    world.host.capacity = Capacity(cpus=64, memory_bytes=999 * GIB, gpus=16)
    async with world.daemon(loops=False) as daemon:
        with pytest.raises(ValidationFailed, match="more than a script job may have") as caught:
            await daemon.submit("script", resources={name: value})
        assert [error.loc for error in caught.value.errors] == [("resources", name)]
        assert caught.value.hint.startswith("ask for at most")
        assert not (await daemon.store.jobs.list(JobFilter(), None)).items


async def test_a_users_code_is_refused_at_once_where_the_backend_runs_none(world: World) -> None:
    world.make_backend = Wary
    world.install(Drawn("theirs", replace(a_step(), trusted=False)))
    async with world.daemon(loops=False) as daemon:
        assert await daemon.submit("train")
        with pytest.raises(ValidationFailed, match="does not confine scripts") as caught:
            await daemon.submit("theirs")
        assert "allow_untrusted" in caught.value.hint


async def test_a_backend_that_is_away_is_not_asked_what_it_runs(world: World) -> None:
    world.make_backend = Wary
    world.host.away = True
    world.install(Drawn("theirs", replace(a_step(), trusted=False)))
    async with world.daemon(loops=False) as daemon:
        assert await daemon.submit("theirs")
