"""An environment is built once, however many ask, and however many of them leave."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainbox.blobs import BlobStore
from trainbox.engine.builds import Builds, Wish, wishes_of
from trainbox_sdk.environments import BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected, BackendUnavailable
from trainbox_sdk.tasks import PlanFile, StepPlan

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


# --- with a user's requirements


class Wanting(Builder):
    """Notes what it was asked to build, and what the wishes said at that time."""

    def __init__(self) -> None:
        super().__init__()
        self.go.set()
        self.wishes: list[list[tuple[str, str]]] = []

    async def build_environment(self, environment, report) -> BuiltEnvironment:
        await asyncio.sleep(0)
        self.wishes.append([(path.name, path.read_text()) for path in environment.wishes])
        self.paths = environment.wishes
        return await super().build_environment(environment, report)


def wish(folder: Path, text: str, name: str = "requirements.txt") -> Wish:
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    path = folder / digest.partition(":")[2]
    path.write_text(text)
    return Wish(name, digest, path)


async def test_equal_requirements_are_built_once_whatever_they_are_called(builds, tmp_path) -> None:
    builder = Wanting()
    one = wish(tmp_path, "numpy\n")
    await asyncio.gather(*(builds.ensure(builder, "plain", silent, [one]) for _ in range(3)))
    await builds.ensure(builder, "plain", silent, [wish(tmp_path, "numpy\n", "other.txt")])
    assert builder.wishes == [[("requirements.txt", "numpy\n")]]
    assert not any(path.exists() for path in builder.paths)


async def test_other_requirements_and_none_are_builds_of_their_own(builds, tmp_path) -> None:
    builder = Wanting()
    both = [wish(tmp_path, "numpy\n"), wish(tmp_path, "scipy\n")]
    for wishes in ([], both[:1], both, both[::-1]):
        await builds.ensure(builder, "plain", silent, wishes)
    assert [len(wishes) for wishes in builder.wishes] == [0, 1, 2, 2]


async def test_a_build_goes_on_without_the_file_of_the_job_that_began_it(builds, tmp_path) -> None:
    builder = Wanting()
    builder.go.clear()
    one = wish(tmp_path, "numpy\n")
    task = asyncio.create_task(builds.ensure(builder, "plain", silent, [one]))
    while not builder.builds:
        await asyncio.sleep(0.001)
    one.path.unlink()
    builder.go.set()
    await task
    assert builder.wishes == [[("requirements.txt", "numpy\n")]]


async def test_what_was_removed_is_forgotten_with_its_wishes(builds, tmp_path) -> None:
    builder = Wanting()
    one = wish(tmp_path, "numpy\n")
    for _ in range(2):
        await builds.ensure(builder, "plain", silent, [one])
        builds.forget("fake", "plain")
    assert builder.builds == 2


async def test_a_backend_hears_again_of_requirements_after_a_while(
    builds, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("trainbox.engine.builds.WISHES_KEPT_S", 0.0)
    builder = Wanting()
    for wishes in ([wish(tmp_path, "numpy\n")], []):
        for _ in range(2):
            await builds.ensure(builder, "plain", silent, wishes)
    assert [len(wishes) for wishes in builder.wishes] == [1, 1, 0]


async def test_the_wishes_of_a_plan_are_its_files_by_name(tmp_path) -> None:
    blobs = BlobStore(tmp_path)

    async def said():
        yield b"numpy\n"

    digest = (await blobs.put_stream(said(), 100)).digest
    files = (PlanFile("run.py", "ast_1", f"sha256:{'b' * 64}"), PlanFile("r.txt", "ast_2", digest))
    plan = StepPlan("train", "m:f", (), "plain", files=files, requirements=("r.txt",))
    assert wishes_of(plan, blobs) == (Wish("r.txt", digest, blobs.path(digest)),)
