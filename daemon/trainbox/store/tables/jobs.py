"""Rows of jobs and what became of them."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
    text,
)
from sqlmodel import Field

from trainbox.store.tables.base import (
    ACTIVE,
    LIVE,
    Row,
    integer_column,
    seq_column,
    state_column,
    table_options,
    text_column,
)

FINISHED = "finished_at IS NOT NULL"
TIMED = "duration_us IS NOT NULL"
"""Jobs that ran and ended."""


class JobRow(Row, table=True):
    """A job; ``state``, ``reason``, ``progress`` and the times follow from its steps.

    ``spec_resources`` is what was asked for, ``resources`` what it came to. A NULL idempotency key
    clashes with nothing. ``identity`` is the same for jobs that would do the same, empty for those
    of before it was known; ``deleted_at`` hides a job whose files were freed: its events stay.
    Of the jobs of an owner with one ``exclusive_key`` at most one has not ended; empty for no such
    rule. ``at_end`` holds lines for the audit log, by the state the job ends in.
    """

    __tablename__ = "jobs"
    __table_args__ = table_options(
        UniqueConstraint("owner", "idempotency_key", name="jobs_once_per_key"),
        CheckConstraint("progress BETWEEN 0 AND 1"),
        Index("jobs_by_owner", "owner", "seq"),
        Index("jobs_by_state", "state", "seq"),
        Index("jobs_by_owner_state", "owner", "state", "seq"),
        Index("jobs_by_task", "task", "seq"),
        Index("jobs_by_dataset", "dataset_id", "seq"),
        Index("jobs_by_name", "name", "seq"),
        Index("jobs_by_backend", "backend", "seq"),
        Index("jobs_by_created", "created_at", "seq"),
        Index("jobs_by_priority", "priority", "seq"),
        Index("jobs_by_owner_priority", "owner", "priority", "seq"),
        Index("jobs_by_finished", "finished_at", "seq", sqlite_where=text(FINISHED)),
        Index("jobs_by_owner_finished", "owner", "finished_at", "seq", sqlite_where=text(FINISHED)),
        Index("jobs_by_duration", "duration_us", "seq", sqlite_where=text(TIMED)),
        Index("jobs_by_owner_duration", "owner", "duration_us", "seq", sqlite_where=text(TIMED)),
        # Narrow, for text in names: walked from the newest without touching the wide rows.
        Index("jobs_names", "seq", "owner", "name", "deleted_at"),
        Index(
            "jobs_by_identity",
            "identity",
            "owner",
            "state",
            "seq",
            sqlite_where=text("identity <> ''"),
        ),
        Index(
            "jobs_exclusive",
            "owner",
            "exclusive_key",
            unique=True,
            sqlite_where=text(f"exclusive_key <> '' AND {LIVE}"),
        ),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    owner: str = text_column()
    name: str = text_column()
    task: str = text_column()
    dataset_id: str | None = text_column(ForeignKey("datasets.id"), nullable=True)
    params: str = text_column()
    spec_resources: str = text_column()
    resources: str = text_column()
    priority: int = integer_column()
    labels: str = text_column()
    backend: str = text_column()
    state: str = state_column()
    reason_code: str = text_column()
    reason: str = text_column()
    progress: float = Field(sa_column=Column(REAL, nullable=False))
    eta_s: float | None = Field(sa_column=Column(REAL))
    metrics: str = text_column()
    model_id: str | None = text_column(nullable=True)
    idempotency_key: str | None = text_column(nullable=True)
    request_digest: str = text_column()
    created_at: int = integer_column()
    started_at: int | None = integer_column(nullable=True)
    finished_at: int | None = integer_column(nullable=True)
    duration_us: int | None = integer_column(nullable=True)
    identity: str = text_column()
    deleted_at: int | None = integer_column(nullable=True)
    exclusive_key: str = text_column()
    at_end: str = text_column()


class JobLabelRow(Row, table=True):
    """A label as filters look for it; what a job shows is in its own row."""

    __tablename__ = "job_labels"
    __table_args__ = (
        Index("job_labels_by_key", "key", "job_seq"),
        Index("job_labels_by_job", "job_seq"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    key: str = text_column(primary_key=True)
    value: str = text_column(primary_key=True)
    job_seq: int = Field(
        sa_column=Column(Integer, ForeignKey("jobs.seq"), primary_key=True, autoincrement=False)
    )


class JobFileRow(Row, table=True):
    """Bytes of an uploaded file that a job's plan names; kept until the job is deleted."""

    __tablename__ = "job_files"
    __table_args__ = (
        Index("job_files_by_digest", "digest"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    job_seq: int = Field(
        sa_column=Column(Integer, ForeignKey("jobs.seq"), primary_key=True, autoincrement=False)
    )
    digest: str = text_column(primary_key=True)


class StepRow(Row, table=True):
    """A step; moved by compare-and-set on ``(state, attempt_id)`` and by nothing else.

    ``attempt`` counts the attempts so far; ``retries`` is the one door out of a terminal state;
    ``priority`` is the job's, here for the index of what waits.
    """

    __tablename__ = "steps"
    __table_args__ = table_options(
        UniqueConstraint("job_id", "name"),
        CheckConstraint("(state = 'queued') <= (attempt_id IS NULL)", name="queued_has_no_attempt"),
        CheckConstraint(
            "(attempt_id IS NULL) <= (state IN ('queued', 'failed', 'cancelled'))",
            name="active_has_attempt",
        ),
        Index("steps_live", "seq", sqlite_where=text(LIVE)),
        Index("steps_active", "seq", sqlite_where=text(ACTIVE)),
        Index("steps_waiting", text("priority DESC"), "seq", sqlite_where=text("state = 'queued'")),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    job_id: str = text_column(ForeignKey("jobs.id"))
    position: int = integer_column()
    priority: int = integer_column()
    name: str = text_column()
    plan: str = text_column()
    needs: str = text_column()
    state: str = state_column()
    reason_code: str = text_column()
    reason: str = text_column()
    attempt: int = integer_column()
    attempt_id: str | None = text_column(nullable=True)
    retries: int = integer_column()
    cancel_requested: int = integer_column()
    queued_at: int = integer_column()


class AttemptRow(Row, table=True):
    """One sandbox run of a step; frozen once it is terminal.

    ``confinement`` is JSON: what held the sandbox, as its backend said.
    """

    __tablename__ = "attempts"
    __table_args__ = table_options(
        UniqueConstraint("step_id", "number"),
        Index("attempts_one_live", "step_id", unique=True, sqlite_where=text(LIVE)),
        Index("attempts_by_job", "job_id", "seq"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    job_id: str = text_column(ForeignKey("jobs.id"))
    step_id: str = text_column(ForeignKey("steps.id"))
    number: int = integer_column()
    state: str = state_column()
    environment_ref: str = text_column()
    deadline_at: int | None = integer_column(nullable=True)
    exit_code: int | None = integer_column(nullable=True)
    reason_code: str = text_column()
    reason: str = text_column()
    peak_memory_bytes: int | None = integer_column(nullable=True)
    events_offset: int = integer_column()
    created_at: int = integer_column()
    started_at: int | None = integer_column(nullable=True)
    finished_at: int | None = integer_column(nullable=True)
    cpu_s: float | None = Field(sa_column=Column(REAL))
    peak_cpus: float | None = Field(sa_column=Column(REAL))
    confinement: str = text_column()


class EventRow(Row, table=True):
    """One committed fact; appended, never changed."""

    __tablename__ = "events"
    __table_args__ = table_options(Index("events_by_job", "job_id", "seq"))

    seq: int | None = seq_column()
    job_id: str = text_column(ForeignKey("jobs.id"))
    kind: str = text_column()
    at: int = integer_column()
    data: str = text_column()


class ArtifactRow(Row, table=True):
    """One file a step left behind; its bytes were published before this row."""

    __tablename__ = "artifacts"
    __table_args__ = table_options(
        UniqueConstraint("attempt_id", "name"),
        Index("artifacts_by_job", "job_id", "seq"),
        Index("artifacts_by_digest", "digest"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    job_id: str = text_column(ForeignKey("jobs.id"))
    attempt_id: str = text_column(ForeignKey("attempts.id"))
    step: str = text_column()
    name: str = text_column()
    kind: str = text_column()
    digest: str = text_column()
    bytes: int = integer_column()
    media_type: str = text_column()
    created_at: int = integer_column()
