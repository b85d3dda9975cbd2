"""Uploaded files of a plan: found as the caller sees them, fixed at submission, given to the step."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from points import Points, crash, unwatch, watch
from rooms import ANN, BOB, ROOT, Daemon, Drawn, World, a_step

from trainbox.engine.assets import Assets
from trainbox.engine.health import FreeSpaceFloor
from trainbox.engine.plan_files import with_digests
from trainbox.engine.trash import Trash
from trainbox.reserve import Reserve
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.assets import AssetView, NewAsset
from trainbox_sdk.calls.jobs import IfIdentical
from trainbox_sdk.engine import JobFilter
from trainbox_sdk.errors import PluginError, StorageFull, ValidationFailed
from trainbox_sdk.jobs import JobSpec, State
from trainbox_sdk.tasks import Plan, PlanFile
from trainbox_sdk.testing.fake_backend import FakeScript

QUIET = FakeScript()


class Takes(Drawn):
    """A task that gives its one step the assets of its parameters, under the names given there."""

    def plan(self, params, dataset: DatasetView | None) -> Plan:
        given = params.model_dump()
        names = given.get("names") or [f"file-{n}" for n, _ in enumerate(given["assets"])]
        files = tuple(PlanFile(name, asset) for name, asset in zip(names, given["assets"]))
        step = a_step("run", outputs=())
        step = replace(step, files=files, requirements=tuple(given.get("requirements", ())))
        return Plan((step,))


@pytest.fixture
def takes(world: World) -> World:
    world.install(Takes("takes"))
    world.host.default = QUIET
    return world


def room(daemon: Daemon, floor: int = 0) -> Assets:
    reserve = Reserve(daemon.world.state_dir)
    kept_free = FreeSpaceFloor(daemon.world.state_dir, floor)
    return Assets(daemon.store, daemon.blobs, reserve, kept_free)


async def stream(data: bytes):
    yield data


async def put(daemon: Daemon, data: bytes = b"print(1)", who=ANN) -> AssetView:
    return await room(daemon).create(who, NewAsset("a.py", "script"), stream(data), ())


def watched(world: World) -> dict[str, bytes]:
    """Return what steps find among their inputs, filled while they start."""
    seen: dict[str, bytes] = {}

    def look(spec) -> bool:
        if spec.paths.inputs is not None:
            seen.update({path.name: path.read_bytes() for path in spec.paths.inputs.iterdir()})
            seen["spec"] = json.dumps(json.loads(spec.paths.spec.read_text())["inputs"]).encode()
        return False

    world.host.on(FakeScript(exit_code=9), when=look)
    return seen


async def test_a_step_finds_them_under_their_names(takes: World) -> None:
    seen = watched(takes)
    async with takes.daemon() as daemon:
        one, two = await put(daemon, b"one"), await put(daemon, b"two")
        names = ["train.py", "x" * 255]
        params = {"assets": [one.id, two.id], "names": names}
        job = await daemon.ended(await daemon.submit("takes", params=params))
        assert (job.state, job.reason) == (State.SUCCEEDED, "")
    assert seen == {
        "train.py": b"one",
        "x" * 255: b"two",
        "spec": json.dumps(sorted(names)).encode(),
    }


async def test_what_is_not_there_or_not_theirs_is_refused_all_at_once(takes: World) -> None:
    async with takes.daemon(loops=False) as daemon:
        mine, bobs = await put(daemon), await put(daemon, who=BOB)
        params = {"assets": ["ast_none", mine.id, bobs.id, "../etc/passwd"]}
        with pytest.raises(ValidationFailed) as refused:
            await daemon.submit("takes", params=params)
        locs = [error.loc for error in refused.value.errors]
        assert locs == [("params", "assets", at) for at in (0, 2, 3)]
        assert not (await daemon.store.jobs.list(JobFilter(), None)).items
        await daemon.submit("takes", params={"assets": [bobs.id]}, who=ROOT)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a/b"], "must not hold a slash"),
        ([".profile"], "must not start with a dot"),
        (["a\nb"], "must not hold control characters"),
        ([""], "must be 1 to 255 bytes"),
        (["a", "a"], '"a" is given 2 times'),
    ],
    ids=["slash", "dot", "newline", "empty", "twice"],
)
async def test_a_plan_with_impossible_names_is_the_plugins_fault(takes, names, words) -> None:
    async with takes.daemon(loops=False) as daemon:
        ids = [(await put(daemon)).id for _ in names]
        with pytest.raises(PluginError, match=words):
            await daemon.submit("takes", params={"assets": ids, "names": names})


async def test_requirements_are_among_the_files(takes: World) -> None:
    async with takes.daemon(loops=False) as daemon:
        asset = await put(daemon)
        params = {"assets": [asset.id], "names": ["r.txt"], "requirements": ["r.txt"]}
        await daemon.submit("takes", params=params)
        params["requirements"] = ["other.txt"]
        with pytest.raises(PluginError, match=r"'other.txt' are none of its files"):
            await daemon.submit("takes", params=params)


async def test_other_bytes_are_another_job(takes: World) -> None:
    async with takes.daemon(loops=False) as daemon:

        async def identity(*assets: AssetView) -> str | None:
            spec = JobSpec("takes", params={"assets": [asset.id for asset in assets]})
            answer = await daemon.intake.submit(ANN, spec, None, IfIdentical.RUN)
            return answer.identical_to

        one, two = await put(daemon, b"one"), await put(daemon, b"two")
        assert await identity(one) is None
        assert await identity(one) is not None
        assert await identity(two) is None
        assert await identity(one, two) is None


@pytest.mark.parametrize("point", ["before engine.prepare step", "after engine.start step"])
async def test_deleted_and_purged_under_a_job_it_still_runs(takes: World, point: str) -> None:
    seen = watched(takes)
    points = Points()
    watch(takes, points)
    daemon = await takes.start(loops=False)
    asset = await put(daemon, b"one")
    job_id = await daemon.submit("takes", params={"assets": [asset.id]})
    await room(daemon).delete(ANN, asset, ())
    await Trash(daemon.store, daemon.blobs).purge(older_than_s=0, dry_run=False, who="ann")
    points.stop_at(point)
    daemon.loop = asyncio.create_task(daemon.run())
    await points.reached.wait()
    await crash(daemon, points)
    unwatch(takes)
    async with takes.daemon() as daemon:
        job = await daemon.ended(job_id)
        assert (job.state, job.reason) == (State.SUCCEEDED, "")
    assert seen["file-0"] == b"one"


async def test_deleted_between_look_and_write_the_job_is_refused(takes: World, monkeypatch) -> None:
    from trainbox.engine import intake

    async with takes.daemon(loops=False) as daemon:
        asset = await put(daemon)

        async def slow(*arguments):
            plan = await with_digests(*arguments)
            await room(daemon).delete(ANN, asset, ())
            return plan

        monkeypatch.setattr(intake, "with_digests", slow)
        with pytest.raises(ValidationFailed, match=asset.id):
            await daemon.submit("takes", params={"assets": [asset.id]})
        assert not (await daemon.store.jobs.list(JobFilter(), None)).items


class TestBytes:
    def files(self, daemon: Daemon) -> list[str]:
        return [file.digest for file in daemon.blobs.files()]

    async def test_a_deleted_asset_frees_its_disk_at_once(self, takes: World) -> None:
        async with takes.daemon(loops=False) as daemon:
            one, same = await put(daemon, b"one"), await put(daemon, b"one")
            await room(daemon).delete(ANN, one, ())
            assert self.files(daemon) == [same.digest]
            await room(daemon).delete(ANN, same, ())
            assert self.files(daemon) == []

    async def test_a_purge_leaves_what_is_there(self, takes: World) -> None:
        async with takes.daemon(loops=False) as daemon:
            one = await put(daemon, b"one")
            await Trash(daemon.store, daemon.blobs).purge(older_than_s=0, dry_run=False, who="a")
            assert self.files(daemon) == [one.digest]

    async def test_what_breaks_off_leaves_no_file(self, takes: World) -> None:
        async def breaks():
            yield b"x" * 3_000_000
            raise ConnectionResetError

        async with takes.daemon(loops=False) as daemon:
            with pytest.raises(ConnectionResetError):
                await room(daemon).create(ANN, NewAsset("a", "b"), breaks(), ())
            with pytest.raises(ValidationFailed):
                await room(daemon).create(ANN, NewAsset("a", "b"), stream(b""), ())
            left = [path for path in daemon.world.state_dir.rglob("*") if path.is_file()]
            assert [path for path in left if "blobs" in path.parts] == []

    async def test_below_the_floor_nothing_is_taken(self, takes: World) -> None:
        async with takes.daemon(loops=False) as daemon:
            with pytest.raises(StorageFull, match="under the floor"):
                await room(daemon, 2**62).create(ANN, NewAsset("a", "b"), stream(b"x"), ())


async def test_an_attempt_says_what_it_used_and_what_held_it(takes: World) -> None:
    held = {"start": "cold", "seccomp": "own"}
    takes.host.default = FakeScript(cpu_s=1.25, peak_cpus=0.5, confinement=held)
    async with takes.daemon() as daemon:
        job = await daemon.ended(await daemon.submit("takes", params={"assets": []}))
        (attempt,) = job.steps[0].attempts
        assert (attempt.cpu_s, attempt.peak_cpus) == (1.25, 0.5)
        assert attempt.confinement.items() >= held.items()
