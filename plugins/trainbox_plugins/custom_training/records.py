"""The surface's own documents: models and runs, as they are kept and as the code sees them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from trainbox_plugins.custom_training.names import SPACE, ModelType, TaskKind
from trainbox_sdk.documents import Document, DocumentKey, DocumentWrite

MODEL, RUN, KEY, REMOVAL = "model", "run", "key", "removal"


@dataclass(frozen=True)
class DatasetLink:
    """Which data a model is trained on."""

    dataset_id: str
    dataset_name: str
    schema_validated: bool
    linked_at: str


@dataclass(frozen=True)
class ModelConfig:
    """What of the data is used for what."""

    target_column: str | None = None
    feature_columns: list[str] | None = None
    algorithm: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelBody:
    """What a model's document holds."""

    model_type: ModelType
    task_type: TaskKind
    created_by: str
    description: str = ""
    tags: list[str] = field(default_factory=list)
    config: ModelConfig = ModelConfig()
    dataset: DatasetLink | None = None
    archived_at: str | None = None
    promoted: str | None = None
    promoted_at: str | None = None
    latest_run: str | None = None


@dataclass(frozen=True)
class ModelRecord:
    """A model of an organisation.

    Attributes:
        revision: what a write of it expects.
    """

    id: str
    owner: str
    name: str
    body: ModelBody
    revision: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class RunBody:
    """What a run's document holds: what was asked for, and with which files.

    Attributes:
        assets: ``{asset_id, filename, asset_type, digest}`` of each file, as they were then.
        environment: names of the variables; their values may be secrets and are not kept here.
        job_id: None until the job's own transaction has ended; the job's label leads back too.
    """

    model_type: ModelType
    created_by: str
    entry_point: str | None
    runtime: str | None
    run_label: str | None
    timeout_seconds: float
    dataset_id: str | None
    dataset_rows: int | None
    environment: list[str] = field(default_factory=list)
    assets: list[dict[str, str]] = field(default_factory=list)
    estimated_start_time: str | None = None
    job_id: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """One training run of a model."""

    id: str
    model_id: str
    owner: str
    body: RunBody
    revision: int
    created_at: datetime


def key(kind: str, id_: str) -> DocumentKey:
    """Return the key of one of the surface's documents."""
    return DocumentKey(SPACE, kind, id_)


def model_of(document: Document) -> ModelRecord:
    """Return a model from its document."""
    raw = dict(document.body)
    raw["config"] = ModelConfig(**raw.get("config") or {})
    raw["dataset"] = DatasetLink(**raw["dataset"]) if raw.get("dataset") else None
    return ModelRecord(
        document.key.id,
        document.owner,
        document.name,
        ModelBody(**raw),
        document.revision,
        document.created_at,
        document.updated_at,
    )


def model_write(model: ModelRecord) -> DocumentWrite:
    """Return the write that keeps a model, if nobody has changed it since it was read."""
    return DocumentWrite(
        key(MODEL, model.id),
        model.owner,
        asdict(model.body),
        expect=model.revision,
        name=model.name,
    )


def run_of(document: Document) -> RunRecord:
    """Return a run from its document."""
    return RunRecord(
        document.key.id,
        document.group,
        document.owner,
        RunBody(**document.body),
        document.revision,
        document.created_at,
    )


def run_write(run_id: str, model: ModelRecord, body: RunBody, *, expect: int = 0) -> DocumentWrite:
    """Return the write that keeps a run."""
    return DocumentWrite(key(RUN, run_id), model.owner, asdict(body), expect=expect, group=model.id)
