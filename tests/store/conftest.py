"""A real store in a fresh directory, and jobs to put into it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import NewArtifact, NewJob, NewModel, StepRecord
from trainbox_sdk.artifacts import Column, DatasetView
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import Output, StepPlan

DEADLINE = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def store(state_dir: Path) -> AsyncIterator[Store]:
    opened = await Store.open(state_dir)
    yield opened
    await opened.close()


@pytest.fixture
def sql(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """A stranger's connection to the same file, past all our code."""
    with closing(sqlite3.connect(state_dir / "trainbox.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def plan(name: str = "train", *, after: tuple[str, ...] = ()) -> StepPlan:
    return StepPlan(
        name,
        "demo.guest:main",
        ("demo",),
        "tabular",
        params={"trials": 3, "nested": {"a": [1, None, "é"]}},
        outputs=(Output("model.onnx", "model", check="onnx"), Output("notes.txt", required=False)),
        after=after,
    )


def job(*steps: StepPlan, owner: str = "ann", key: str | None = None, **spec: Any) -> NewJob:
    digest = spec.pop("digest", "d1")
    return NewJob(
        id=new_id("job"),
        owner=owner,
        spec=JobSpec(**{"task": "regression", "name": "churn", **spec}),
        resources=Resources(cpus=1.5, memory_bytes=10**9, timeout_s=60.0),
        backend="docker",
        steps=steps or (plan(),),
        idempotency_key=key,
        request_digest=digest,
    )


def dataset(name: str = "people", owner: str = "ann") -> DatasetView:
    columns = (
        Column("age", "number", "BIGINT", 2, 70, True, 0, 99, (1, 2)),
        Column("born", "datetime", "TIMESTAMP", 0, 5, False, "1970-01-01", "2020-01-01", ("2001",)),
    )
    return DatasetView(
        new_id("ds"), name, "sha256:" + "0" * 64, "csv", 123, 7, columns, owner, DEADLINE
    )


def artifact(name: str = "model.onnx") -> NewArtifact:
    return NewArtifact(new_id("art"), name, "model", "sha256:" + "1" * 64, 5, "application/onnx")


def model(of: NewArtifact, name: str = "churn") -> NewModel:
    return NewModel(new_id("mdl"), name, of.id, {"inputs": []}, {"rmse": 0.25}, {"rows": 1000})


async def start(store: Store, new: NewJob | None = None) -> StepRecord:
    """Insert a job and begin its first step."""
    inserted = await store.jobs.insert(new or job(), audit="test")
    begun = await store.jobs.begin_attempt(inserted.job.steps[0].id, deadline_at=DEADLINE)
    assert begun is not None
    return begun


async def run_to(store: Store, step: StepRecord, state: State) -> StepRecord:
    """Move a begun step along the successful path up to a state."""
    path = [State.PREPARING, State.RUNNING, State.COLLECTING, State.VERIFYING]
    for before, after in zip(path, path[1:]):
        if step.state is state:
            break
        if step.state is before:
            moved = await store.jobs.transition(step, before, after)
            assert moved is not None
            step = moved
    assert step.state is state
    return step


@pytest.fixture
def make() -> Callable[..., Any]:
    """The makers of this module, for tests: ``make.job()``, ``make.plan()`` and so on."""

    class Makers:
        deadline = DEADLINE

    for maker in (plan, job, dataset, artifact, model, start, run_to):
        setattr(Makers, maker.__name__, staticmethod(maker))
    return Makers
