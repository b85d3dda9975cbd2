"""Rows to the views that the rest of the daemon sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainbox.store import codec
from trainbox.store.records import StepRecord
from trainbox.store.tables import (
    ACTIVE,
    LIVE,
    ArtifactRow,
    AttemptRow,
    DatasetRow,
    EventRow,
    JobRow,
    ModelRow,
    StepRow,
)
from trainbox.store.times import moment
from trainbox_sdk.artifacts import ArtifactView, Column, DatasetView, ModelView
from trainbox_sdk.jobs import AttemptView, JobEvent, JobView, State, StepView


class Record(Protocol):
    """A row by column name: SQLite's own on the writer, SQLAlchemy's mapping on a reader."""

    def __getitem__(self, name: str, /) -> Any: ...


AFTER_DONE = """
NOT EXISTS (
    SELECT 1 FROM json_each(s.needs) AS need
      JOIN steps AS p ON p.job_id = s.job_id AND p.name = need.value
     WHERE p.state <> 'succeeded')
"""
STEP_SQL = f"""
SELECT s.id, s.job_id, s.plan, s.state, s.reason_code, s.attempt, s.attempt_id, s.priority,
       s.cancel_requested, s.queued_at, {AFTER_DONE} AS after_done,
       j.task, j.name AS job_name, j.owner, j.dataset_id, j.resources, j.backend,
       a.events_offset, a.deadline_at, a.started_at, a.environment_ref
  FROM steps AS s
  JOIN jobs AS j ON j.id = s.job_id
  LEFT JOIN attempts AS a ON a.id = s.attempt_id
"""  # noqa: S608 - constants
ONE_STEP_SQL = f"{STEP_SQL} WHERE s.id = :id"
LIVE_STEPS_SQL = f"{STEP_SQL} WHERE s.{LIVE} ORDER BY s.seq"
ACTIVE_STEPS_SQL = f"{STEP_SQL} WHERE s.{ACTIVE} ORDER BY s.seq"
# Walks the index of waiting steps and stops at the limit, however many wait.
QUEUED_STEPS_SQL = (
    f"{STEP_SQL} WHERE s.state = 'queued' AND {AFTER_DONE}"
    " AND (:backend IS NULL OR j.backend = :backend)"
    " ORDER BY s.priority DESC, s.seq LIMIT :limit"
)
# In the order in which they start; of the steps that wait for nothing but a slot.
BEFORE_SQL = f"""
SELECT s.job_id FROM steps AS s JOIN jobs AS j ON j.id = s.job_id
 WHERE s.state = 'queued' AND j.backend = :backend AND s.id <> :id AND {AFTER_DONE}
   AND (s.priority > :priority
        OR (s.priority = :priority AND s.seq < (SELECT seq FROM steps WHERE id = :id)))
 ORDER BY s.priority DESC, s.seq
"""  # noqa: S608 - a constant
ACTIVE_STEPS_OF_JOB_SQL = f"{STEP_SQL} WHERE s.job_id = :job_id AND s.{ACTIVE} ORDER BY s.seq"


def step_record(row: Record) -> StepRecord:
    """Return a row of :data:`STEP_SQL` as the engine drives it."""
    return StepRecord(
        id=row["id"],
        job_id=row["job_id"],
        plan=codec.load_plan(row["plan"]),
        state=State(row["state"]),
        task=row["task"],
        job_name=row["job_name"],
        owner=row["owner"],
        dataset_id=row["dataset_id"],
        resources=codec.load_resources(row["resources"]),
        backend=row["backend"],
        priority=row["priority"],
        queued_at=moment(row["queued_at"]),
        reason_code=row["reason_code"],
        attempt_id=row["attempt_id"],
        attempt=row["attempt"],
        cancel_requested=bool(row["cancel_requested"]),
        events_offset=row["events_offset"] or 0,
        deadline_at=moment(row["deadline_at"]),
        started_at=moment(row["started_at"]),
        environment_ref=row["environment_ref"] or "",
        after_done=bool(row["after_done"]),
    )


def job_view(job: JobRow, steps: Sequence[StepRow], attempts: Sequence[AttemptRow]) -> JobView:
    """Return a job with its steps and their attempts, each in order."""
    return JobView(
        id=job.id,
        name=job.name,
        task=job.task,
        state=State(job.state),
        reason_code=job.reason_code,
        reason=job.reason,
        dataset_id=job.dataset_id,
        params=codec.load(job.params),
        resources=codec.load_resources(job.resources),
        priority=job.priority,
        labels=codec.load(job.labels),
        backend=job.backend,
        owner=job.owner,
        created_at=moment(job.created_at),
        started_at=moment(job.started_at),
        finished_at=moment(job.finished_at),
        progress=job.progress,
        eta_s=job.eta_s,
        metrics=codec.load(job.metrics),
        model_id=job.model_id,
        steps=tuple(
            step_view(step, [a for a in attempts if a.step_id == step.id]) for step in steps
        ),
        duration_s=None if job.duration_us is None else job.duration_us / 1e6,
        deleted_at=moment(job.deleted_at),
    )


def step_view(step: StepRow, attempts: Sequence[AttemptRow]) -> StepView:
    """Return one step."""
    return StepView(
        id=step.id,
        name=step.name,
        state=State(step.state),
        reason_code=step.reason_code,
        reason=step.reason,
        after=tuple(codec.load(step.needs)),
        attempts=tuple(attempt_view(attempt) for attempt in attempts),
    )


def attempt_view(attempt: AttemptRow) -> AttemptView:
    """Return one attempt."""
    return AttemptView(
        id=attempt.id,
        number=attempt.number,
        state=State(attempt.state),
        exit_code=attempt.exit_code,
        reason_code=attempt.reason_code,
        started_at=moment(attempt.started_at),
        finished_at=moment(attempt.finished_at),
        peak_memory_bytes=attempt.peak_memory_bytes,
        cpu_s=attempt.cpu_s,
        peak_cpus=attempt.peak_cpus,
        confinement=codec.load(attempt.confinement),
    )


def event_view(row: EventRow) -> JobEvent:
    """Return one fact."""
    assert row.seq is not None
    return JobEvent(row.seq, row.job_id, row.kind, moment(row.at), codec.load(row.data))


def dataset_view(row: DatasetRow) -> DatasetView:
    """Return one dataset."""
    columns = (
        Column(**{**column, "examples": tuple(column["examples"])})
        for column in codec.load(row.columns)
    )
    return DatasetView(
        id=row.id,
        name=row.name,
        digest=row.digest,
        source_format=row.source_format,
        bytes=row.bytes,
        rows=row.rows,
        columns=tuple(columns),
        warnings=tuple(codec.load(row.warnings)),
        owner=row.owner,
        created_at=moment(row.created_at),
        version=row.version,
        source_digest=row.source_digest,
        description=row.description,
        labels=codec.load(row.labels),
        trashed_at=moment(row.trashed_at),
        purged_at=moment(row.purged_at),
    )


def artifact_view(row: ArtifactRow) -> ArtifactView:
    """Return one artifact."""
    return ArtifactView(
        id=row.id,
        job_id=row.job_id,
        step=row.step,
        name=row.name,
        kind=row.kind,
        digest=row.digest,
        bytes=row.bytes,
        media_type=row.media_type,
        created_at=moment(row.created_at),
    )


def model_view(row: ModelRow, aliases: Sequence[str]) -> ModelView:
    """Return one model version with the aliases that point at it."""
    signature: Mapping[str, Any] = codec.load(row.signature)
    return ModelView(
        id=row.id,
        name=row.name,
        version=row.version,
        job_id=row.job_id,
        task=row.task,
        artifact_id=row.artifact_id,
        digest=row.digest,
        bytes=row.bytes,
        dataset_id=row.dataset_id,
        signature=signature,
        metrics=codec.load(row.metrics),
        parity=codec.load(row.parity),
        aliases=tuple(aliases),
        created_at=moment(row.created_at),
        owner=row.owner,
        trashed_at=moment(row.trashed_at),
        purged_at=moment(row.purged_at),
    )
