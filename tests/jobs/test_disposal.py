"""Scratch of unsuccessful steps goes after its time, and not a moment before."""

from __future__ import annotations


import pytest

from trainbox.blobs import BlobStore
from trainbox.engine.disposal import Disposal
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.ids import new_id
from trainbox.store.records import NewJob
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import StepPlan

S = State


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
