"""An environment is built once, however many ask, and however many of them leave."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainbox.engine.builds import Builds
from trainbox_sdk.environments import BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected, BackendUnavailable

ENVIRONMENT = Environment("plain", "3.11", Path("requirements.lock"))


class Builder:
    """A backend that builds when told."""

    name = "fake"

    def __init__(self) -> None:
        self.builds = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.report = None

    async def build_environment(self, environment, report) -> BuiltEnvironment:
        self.builds += 1
        self.report = report
        await self.go.wait()
        if self.error is not None:
            raise self.error
        made_at = datetime(2026, 1, 1, tzinfo=UTC)
        return BuiltEnvironment("plain", "fake", "ref", "digest", 1, made_at)


def silent(fraction: float, sentence: str) -> None:
    del fraction, sentence


@pytest.fixture
def builds() -> Builds:
    return Builds({"plain": ENVIRONMENT})


async def start(builds: Builds, builder: Builder, report=silent) -> asyncio.Task:
    task = asyncio.create_task(builds.ensure(builder, "plain", report))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_those_who_ask_at_once_share_one_build(builds) -> None:
    builder = Builder()
    tasks = [await start(builds, builder) for _ in range(5)]
    builder.go.set()
    found = await asyncio.gather(*tasks)
    assert builder.builds == 1
    assert {one.reference for one in found} == {"ref"}
    assert (await builds.ensure(builder, "plain", silent)).reference == "ref"
    assert builder.builds == 1


async def test_one_that_leaves_does_not_take_the_build_along(builds) -> None:
    builder = Builder()
    first, second = [await start(builds, builder) for _ in range(2)]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    builder.go.set()
    assert (await second).reference == "ref"
    assert builder.builds == 1


async def test_a_build_nobody_waits_for_any_more_is_still_used(builds) -> None:
    builder = Builder()
    task = await start(builds, builder)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    again = await start(builds, builder)
    builder.go.set()
    assert (await again).reference == "ref"
    assert builder.builds == 1


async def test_progress_goes_to_everyone_who_waits_and_to_nobody_else(builds) -> None:
    builder, heard = Builder(), {1: [], 2: []}
    first = await start(builds, builder, lambda f, s: heard[1].append(s))
    second = await start(builds, builder, lambda f, s: heard[2].append(s))
    builder.report(0.1, "one")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    builder.report(0.2, "two")
    builder.go.set()
    await second
    assert heard == {1: ["one"], 2: ["one", "two"]}


@pytest.mark.parametrize("error", [BackendRejected("never"), BackendUnavailable("not now")])
async def test_a_failure_is_told_to_all_and_not_remembered(builds, error) -> None:
    builder = Builder()
    builder.error = error
    tasks = [await start(builds, builder) for _ in range(2)]
    builder.go.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [error, error]
    builder.error = None
    assert (await builds.ensure(builder, "plain", silent)).reference == "ref"


async def test_a_failure_nobody_waits_for_is_no_stray_error(builds) -> None:
    builder = Builder()
    task = await start(builds, builder)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    builder.error = BackendRejected("never")
    builder.go.set()
    await asyncio.sleep(0.01)
    assert not builds._running


async def test_a_forgotten_one_is_looked_at_again(builds) -> None:
    builder = Builder()
    builder.go.set()
    await builds.ensure(builder, "plain", silent)
    builds.forget("fake", "plain")
    await builds.ensure(builder, "plain", silent)
    assert builder.builds == 2


async def test_an_unknown_one_is_refused(builds) -> None:
    with pytest.raises(BackendRejected, match="no plugin registers"):
        await builds.ensure(Builder(), "mars", silent)


async def test_closing_leaves_builds_under_way(builds) -> None:
    builder = Builder()
    task = await start(builds, builder)
    await builds.close()
    await builds.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not builds._running
