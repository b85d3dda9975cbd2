"""Scratch of unsuccessful steps goes after its time, and not a moment before."""

from __future__ import annotations

import os

import pytest

from trainbox.blobs import BlobStore
from trainbox.engine.disposal import Disposal
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.ids import new_id
from trainbox.store.records import NewJob
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import StepPlan

S = State
MIB = 1024**2


@pytest.fixture
async def step(store):
    plan = StepPlan("train", "a:b", ("a",), "e")
    new = NewJob(new_id("job"), "ann", JobSpec("t"), Resources(), "fake", (plan,))
    job = (await store.jobs.insert(new, audit="t")).job
    return await store.jobs.begin_attempt(job.steps[0].id, deadline_at=None)


@pytest.mark.parametrize(
    ("end", "keep_s", "goes"),
    [
        (S.FAILED, 0.0, True),
        (S.FAILED, 3600.0, False),
        (S.INTERRUPTED, 0.0, True),
        (None, 0.0, False),
    ],
    ids=["long ago", "lately", "interrupted", "still running"],
)
async def test_a_sweep(store, step, tmp_path, end, keep_s, goes):
    files = SandboxFiles(tmp_path / "state")
    disposal = Disposal(store, BlobStore(tmp_path / "state" / "blobs"), files, keep_s)
    for key in (step.id, f"{step.id}-check0"):
        files.writable.scratch(key).mkdir()
    if end is not None:
        await store.jobs.transition(step, S.PREPARING, end)
    assert await disposal.sweep() == ({step.id} if goes else set())
    assert files.writable.scratch(step.id).exists() is not goes
    assert files.writable.scratch(f"{step.id}-check0").exists() is not goes


async def failed_steps(store, files, count):
    """Steps that failed one after the other, each with a mebibyte of scratch."""
    steps = []
    for _ in range(count):
        plan = StepPlan("train", "a:b", ("a",), "e")
        new = NewJob(new_id("job"), "ann", JobSpec("t"), Resources(), "fake", (plan,))
        job = (await store.jobs.insert(new, audit="t")).job
        begun = await store.jobs.begin_attempt(job.steps[0].id, deadline_at=None)
        await store.jobs.transition(begun, S.PREPARING, S.FAILED)
        files.writable.scratch(begun.id).mkdir()
        (files.writable.scratch(begun.id) / "model").write_bytes(b"x" * MIB)
        steps.append(begun)
    return [step.id for step in steps]


async def test_beyond_its_budget_the_oldest_scratch_goes_first(store, tmp_path):
    files = SandboxFiles(tmp_path / "state")
    blobs = BlobStore(tmp_path / "state" / "blobs")
    oldest, older, newest = await failed_steps(store, files, 3)
    disposal = Disposal(store, blobs, files, 3600.0, keep_bytes=2 * MIB + MIB // 2)
    assert await disposal.relieve() == {oldest}
    assert files.writable.owners() == {older, newest}
    assert await disposal.relieve() == set()


async def test_sparse_files_count_by_their_blocks(store, tmp_path):
    files = SandboxFiles(tmp_path / "state")
    (step_id,) = await failed_steps(store, files, 1)
    with (files.writable.scratch(step_id) / "sparse").open("wb") as sparse:
        sparse.truncate(64 * MIB)
    assert MIB <= files.writable.taken_by([step_id])[step_id] < 2 * MIB


async def test_scratch_nested_deeper_than_the_interpreters_stack_is_measured_and_goes(
    store, tmp_path
):
    files = SandboxFiles(tmp_path / "state")
    [step] = await failed_steps(store, files, 1)
    here = os.open(files.writable.scratch(step), os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    taken = files.writable.taken_by([step])[step]
    assert taken > MIB + 1500 * 512, "what only directories hold counts as well"
    blobs = BlobStore(tmp_path / "state" / "blobs")
    assert await Disposal(store, blobs, files, 3600.0, keep_bytes=MIB).relieve() == {step}
    assert not files.writable.scratch(step).exists()


async def test_where_little_is_free_scratch_goes_but_of_what_was_retried(store, tmp_path):
    files = SandboxFiles(tmp_path / "state")
    blobs = BlobStore(tmp_path / "state" / "blobs")
    first, second = await failed_steps(store, files, 2)
    step = await store.jobs.step(second)
    await store.jobs.retry(step.job_id, who="ann")
    disposal = Disposal(store, blobs, files, 3600.0, headroom_bytes=2**62)
    assert await disposal.relieve() == {first}
    assert files.writable.owners() == {second}
