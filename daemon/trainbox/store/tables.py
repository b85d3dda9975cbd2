"""The rows, one class per table; nothing outside the store sees them.

STRICT tables, times as integer UTC microseconds, order by ``seq`` and never by a clock. JSON is
kept as text: the daemon reads it whole or not at all. ``triggers`` adds what a table cannot say.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from trainbox import states
from trainbox_sdk.jobs import TERMINAL, State


def quoted(states: Any) -> str:
    """Return states as a SQL list, in the order of the enumeration."""
    return ", ".join(f"'{state}'" for state in State if state in set(states))


LIVE = f"state NOT IN ({quoted(TERMINAL)})"
"""The condition of the partial indexes over what still moves."""
ACTIVE = f"state IN ({quoted(states.ACTIVE)})"

metadata = MetaData()


class Row(SQLModel):
    """Base of all rows: one metadata of our own, so that strangers' models stay out of it."""

    metadata: ClassVar[MetaData] = metadata


def _seq() -> Any:
    return Field(default=None, sa_column=Column(Integer, primary_key=True, autoincrement=True))


def _text(*arguments: Any, **options: Any) -> Any:
    return Field(sa_column=Column(Text, *arguments, **{"nullable": False, **options}))


def _integer(**options: Any) -> Any:
    return Field(sa_column=Column(Integer, **{"nullable": False, **options}))


def _state() -> Any:
    return Field(
        sa_column=Column(Text, CheckConstraint(f"state IN ({quoted(State)})"), nullable=False)
    )


def _options(*items: Any) -> Any:
    return (*items, {"sqlite_strict": True, "sqlite_autoincrement": True})


class MetaRow(Row, table=True):
    """Facts about the database itself: ``instance``, ``created_by``, ``migrated_by``, ``ping``."""

    __tablename__ = "meta"
    __table_args__ = ({"sqlite_strict": True, "sqlite_with_rowid": False},)

    key: str = _text(primary_key=True)
    value: str = _text()


class DatasetRow(Row, table=True):
    """A stored dataset; its bytes lie in the blob store."""

    __tablename__ = "datasets"
    __table_args__ = _options(
        Index("datasets_by_owner", "owner", "seq"),
        Index("datasets_by_name", "name", "seq"),
        Index("datasets_by_digest", "digest"),
    )

    seq: int | None = _seq()
    id: str = _text(unique=True)
    name: str = _text()
    digest: str = _text()
    source_format: str = _text()
    bytes: int = _integer()
    rows: int = _integer()
    columns: str = _text()
    warnings: str = _text()
    owner: str = _text()
    created_at: int = _integer()


class JobRow(Row, table=True):
    """A job; ``state``, ``reason``, ``progress`` and the times follow from its steps.

    ``spec_resources`` is what was asked for, ``resources`` what it came to. A NULL idempotency key
    clashes with nothing.
    """

    __tablename__ = "jobs"
    __table_args__ = _options(
        UniqueConstraint("owner", "idempotency_key", name="jobs_once_per_key"),
        CheckConstraint("progress BETWEEN 0 AND 1"),
        Index("jobs_by_owner", "owner", "seq"),
        Index("jobs_by_state", "state", "seq"),
        Index("jobs_by_owner_state", "owner", "state", "seq"),
        Index("jobs_by_task", "task", "seq"),
        Index("jobs_by_dataset", "dataset_id", "seq"),
    )

    seq: int | None = _seq()
    id: str = _text(unique=True)
    owner: str = _text()
    name: str = _text()
    task: str = _text()
    dataset_id: str | None = _text(ForeignKey("datasets.id"), nullable=True)
    params: str = _text()
    spec_resources: str = _text()
    resources: str = _text()
    priority: int = _integer()
    labels: str = _text()
    backend: str = _text()
    state: str = _state()
    reason_code: str = _text()
    reason: str = _text()
    progress: float = Field(sa_column=Column(REAL, nullable=False))
    eta_s: float | None = Field(sa_column=Column(REAL))
    metrics: str = _text()
    model_id: str | None = _text(nullable=True)
    idempotency_key: str | None = _text(nullable=True)
    request_digest: str = _text()
    created_at: int = _integer()
    started_at: int | None = _integer(nullable=True)
    finished_at: int | None = _integer(nullable=True)


class StepRow(Row, table=True):
    """A step; moved by compare-and-set on ``(state, attempt_id)`` and by nothing else.

    ``attempt`` counts the attempts so far; ``retries`` is the one door out of a terminal state;
    ``priority`` is the job's, here for the index of what waits.
    """

    __tablename__ = "steps"
    __table_args__ = _options(
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

    seq: int | None = _seq()
    id: str = _text(unique=True)
    job_id: str = _text(ForeignKey("jobs.id"))
    position: int = _integer()
    priority: int = _integer()
    name: str = _text()
    plan: str = _text()
    needs: str = _text()
    state: str = _state()
    reason_code: str = _text()
    reason: str = _text()
    attempt: int = _integer()
    attempt_id: str | None = _text(nullable=True)
    retries: int = _integer()
    cancel_requested: int = _integer()
    queued_at: int = _integer()


class AttemptRow(Row, table=True):
    """One sandbox run of a step; frozen once it is terminal."""

    __tablename__ = "attempts"
    __table_args__ = _options(
        UniqueConstraint("step_id", "number"),
        Index("attempts_one_live", "step_id", unique=True, sqlite_where=text(LIVE)),
        Index("attempts_by_job", "job_id", "seq"),
    )

    seq: int | None = _seq()
    id: str = _text(unique=True)
    job_id: str = _text(ForeignKey("jobs.id"))
    step_id: str = _text(ForeignKey("steps.id"))
    number: int = _integer()
    state: str = _state()
    environment_ref: str = _text()
    deadline_at: int | None = _integer(nullable=True)
    exit_code: int | None = _integer(nullable=True)
    reason_code: str = _text()
    reason: str = _text()
    peak_memory_bytes: int | None = _integer(nullable=True)
    events_offset: int = _integer()
    created_at: int = _integer()
    started_at: int | None = _integer(nullable=True)
    finished_at: int | None = _integer(nullable=True)


class EventRow(Row, table=True):
    """One committed fact; appended, never changed."""

    __tablename__ = "events"
    __table_args__ = _options(Index("events_by_job", "job_id", "seq"))

    seq: int | None = _seq()
    job_id: str = _text(ForeignKey("jobs.id"))
    kind: str = _text()
    at: int = _integer()
    data: str = _text()


class ArtifactRow(Row, table=True):
    """One file a step left behind; its bytes were published before this row."""

    __tablename__ = "artifacts"
    __table_args__ = _options(
        UniqueConstraint("attempt_id", "name"),
        Index("artifacts_by_job", "job_id", "seq"),
        Index("artifacts_by_digest", "digest"),
    )

    seq: int | None = _seq()
    id: str = _text(unique=True)
    job_id: str = _text(ForeignKey("jobs.id"))
    attempt_id: str = _text(ForeignKey("attempts.id"))
    step: str = _text()
    name: str = _text()
    kind: str = _text()
    digest: str = _text()
    bytes: int = _integer()
    media_type: str = _text()
    created_at: int = _integer()


class ModelRow(Row, table=True):
    """One version of a named model."""

    __tablename__ = "models"
    __table_args__ = _options(
        UniqueConstraint("name", "version"),
        Index("models_by_owner", "owner", "seq"),
        Index("models_by_job", "job_id"),
    )

    seq: int | None = _seq()
    id: str = _text(unique=True)
    name: str = _text()
    version: int = _integer()
    owner: str = _text()
    job_id: str = _text(ForeignKey("jobs.id"))
    task: str = _text()
    artifact_id: str = _text(ForeignKey("artifacts.id"))
    digest: str = _text()
    bytes: int = _integer()
    dataset_id: str | None = _text(ForeignKey("datasets.id"), nullable=True)
    signature: str = _text()
    metrics: str = _text()
    parity: str = _text()
    created_at: int = _integer()


class ModelAliasRow(Row, table=True):
    """A name that points at one version of a model."""

    __tablename__ = "model_aliases"
    __table_args__ = (
        Index("model_aliases_by_model", "model_id"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    name: str = _text(primary_key=True)
    alias: str = _text(primary_key=True)
    model_id: str = _text(ForeignKey("models.id"))
    updated_at: int = _integer()


class AuditRow(Row, table=True):
    """Who did what; appended in the transaction of the act, never changed.

    ``hash`` covers the row and ``prev``, the hash before it.
    """

    __tablename__ = "audit"
    __table_args__ = _options(Index("audit_by_object", "object", "seq"))

    seq: int | None = _seq()
    at: int = _integer()
    who: str = _text()
    act: str = _text()
    object: str = _text()
    note: str = _text()
    prev: str = _text()
    hash: str = _text()


class TokenRow(Row, table=True):
    """A bearer token; of the secret only its sha256 is kept."""

    __tablename__ = "tokens"
    __table_args__ = _options()

    seq: int | None = _seq()
    id: str = _text(unique=True)
    secret_sha256: str = _text()
    name: str = _text()
    scopes: str = _text()
    created_at: int = _integer()
    expires_at: int | None = _integer(nullable=True)
    revoked_at: int | None = _integer(nullable=True)
    last_used_at: int | None = _integer(nullable=True)
