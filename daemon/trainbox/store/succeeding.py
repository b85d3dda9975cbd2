"""Success of a step: its artifacts, its model version and its last state, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.store import codec, outbox
from trainbox.store.guests import MOST_METRICS
from trainbox.store.moves import move
from trainbox.store.records import NewArtifact, NewModel, Outcome, StepRecord, Succeeded
from trainbox.store.tables import ArtifactRow, ModelRow
from trainbox.store.times import moment
from trainbox.store.transaction import Transaction
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.jobs import State

LATEST_SQL = "SELECT MAX(version) AS version FROM models WHERE owner = ? AND name = ?"


def succeed(
    tx: Transaction,
    step: StepRecord,
    before: State,
    *,
    artifacts: Sequence[NewArtifact],
    model: NewModel | None,
    outcome: Outcome,
) -> Succeeded | None:
    """Record a step's success; None, and nothing written, where it had already left ``before``.

    The ``model`` event comes before the last ``state`` event, which ends a job's stream.

    Raises:
        ValueError: the model's artifact is not among the artifacts.
    """
    fence = "SELECT 1 FROM steps WHERE id = ? AND state = ? AND attempt_id IS ?"
    if tx.one(fence, (step.id, before.value, step.attempt_id)) is None:
        return None
    for artifact in artifacts:
        tx.insert(ArtifactRow, _artifact_values(tx, step, artifact))
    view = _insert_model(tx, step, artifacts, model) if model else None
    moved = move(tx, step, before, State.SUCCEEDED, outcome)
    assert moved is not None
    return Succeeded(moved, view)


def _artifact_values(tx: Transaction, step: StepRecord, new: NewArtifact) -> dict[str, Any]:
    return {
        **vars(new),
        "job_id": step.job_id,
        "attempt_id": step.attempt_id,
        "step": step.plan.name,
        "created_at": tx.now,
    }


def _insert_model(
    tx: Transaction, step: StepRecord, artifacts: Sequence[NewArtifact], new: NewModel
) -> ModelView:
    artifact = next((a for a in artifacts if a.id == new.artifact_id), None)
    if artifact is None:
        raise ValueError(
            f"model {new.name} points at {new.artifact_id}, which the step did not leave"
        )
    latest = tx.one(LATEST_SQL, (step.owner, new.name))
    version = ((latest and latest["version"]) or 0) + 1
    shared: dict[str, Any] = {
        "id": new.id,
        "name": new.name,
        "version": version,
        "job_id": step.job_id,
        "task": step.task,
        "artifact_id": artifact.id,
        "digest": artifact.digest,
        "bytes": artifact.bytes,
        "dataset_id": step.dataset_id,
        "owner": step.owner,
    }
    documents = {
        name: codec.dump(getattr(new, name)) for name in ("signature", "metrics", "parity", "facts")
    }
    fresh = {"created_at": tx.now, "trashed_at": None, "purged_at": None}
    tx.insert(ModelRow, {**shared, **documents, **fresh})
    tx.audit(step.owner, "model.create", new.id, f"{new.name}:{version} by {step.job_id}")
    tx.event(step.job_id, "model", {"model_id": new.id, "name": new.name, "version": version})
    told = {name: shared[name] for name in ("id", "name", "version", "job_id", "task", "digest")}
    outbox.tell(tx, "model.created", step.owner, {**told, "metrics": new.metrics})
    row = tx.one("SELECT metrics FROM jobs WHERE id = ?", (step.job_id,))
    assert row is not None
    tx.execute(
        "UPDATE jobs SET model_id = ?, metrics = ? WHERE id = ?",
        (new.id, codec.dump(_summary(codec.load(row["metrics"]), new.metrics)), step.job_id),
    )
    return ModelView(
        **shared,
        signature=new.signature,
        metrics=new.metrics,
        parity=new.parity,
        aliases=(),
        created_at=moment(tx.now),
    )


def _summary(said: Mapping[str, float], final: Mapping[str, float]) -> dict[str, float]:
    """Return a job's metrics: the model's own, and of those said on the way what there is room."""
    room = max(0, MOST_METRICS - len(final))
    others = [name for name in said if name not in final]
    return {**{name: said[name] for name in others[:room]}, **final}
