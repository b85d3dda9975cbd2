"""What goes out, as typed dictionaries: the types of the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from trainbox_plugins.custom_training.names import ModelStatus, ModelType, RunStatus, TaskKind


class ConfigOut(TypedDict):
    """What of the data is used for what."""

    target_column: str | None
    feature_columns: list[str] | None
    algorithm: str | None
    parameters: dict[str, Any]


class ModelOut(TypedDict):
    """A model."""

    model_id: str
    name: str
    description: str
    model_type: ModelType
    task_type: TaskKind
    status: ModelStatus
    version: int
    tags: list[str]
    config: ConfigOut
    dataset_id: str | None
    promoted_version_id: str | None
    latest_run_id: str | None
    created_by: str
    created_at: str
    updated_at: str


class ModelsOut(TypedDict):
    """One page of models; ``next`` is the cursor for ``?after=``."""

    models: list[ModelOut]
    next: str | None


class AssetOut(TypedDict):
    """An uploaded file."""

    asset_id: str
    model_id: str
    asset_type: str
    filename: str
    description: str
    size_bytes: int
    digest: str
    uploaded_at: str


class AssetsOut(TypedDict):
    """Every file of a model."""

    model_id: str
    assets: list[AssetOut]


class ColumnOut(TypedDict):
    """One column of a dataset."""

    name: str
    type: str


class DatasetOut(TypedDict):
    """A dataset."""

    dataset_id: str
    name: str
    version: int
    format: str
    rows: int
    columns: list[ColumnOut]
    size_bytes: int
    created_at: str


class DatasetsOut(TypedDict):
    """One page of datasets; ``next`` is the cursor for ``?after=``."""

    datasets: list[DatasetOut]
    next: str | None


class LinkOut(TypedDict):
    """A dataset that a model is linked to."""

    model_id: str
    dataset_id: str
    dataset_name: str
    schema_validated: bool
    linked_at: str


class ComputeOut(TypedDict):
    """What a run may use."""

    cpu_cores: float
    memory_gb: float
    gpu: bool


class RunOut(TypedDict):
    """A training run."""

    run_id: str
    model_id: str
    model_type: ModelType
    status: RunStatus
    entry_point: str | None
    runtime: str | None
    compute: ComputeOut
    run_label: str | None
    created_at: str
    estimated_start_time: str | None


class RunDetailOut(RunOut):
    """A training run and what became of it."""

    started_at: str | None
    completed_at: str | None
    duration_seconds: float | None
    progress: float
    reason: str | None
    timeout_seconds: float
    environment_vars: list[str]
    assets: list[dict[str, str]]
    dataset_id: str | None
    version_created: str | None
    created_by: str


class RunsOut(TypedDict):
    """One page of runs, newest first."""

    model_id: str
    runs: list[RunDetailOut]
    next: str | None


class PointOut(TypedDict):
    """One value of a metric."""

    step: float | None
    epoch: float | None
    value: float | None
    timestamp: str


class MetricsOut(TypedDict):
    """Curves of a run."""

    model_id: str
    run_id: str
    status: RunStatus
    metrics: dict[str, list[PointOut]]
    epochs_completed: int | None
    total_epochs: int | None


class StageOut(TypedDict):
    """One state a run went through."""

    stage: str
    started_at: str
    completed_at: str | None
    duration_seconds: float | None


class UsageOut(TypedDict):
    """What a run used at its most; null where it was not measured."""

    peak_cpu_percent: float | None
    peak_memory_mb: float | None
    cpu_seconds: float | None
    worker_type: Literal["cpu", "gpu"]


class DetailsOut(TypedDict):
    """How a run went."""

    model_id: str
    run_id: str
    status: RunStatus
    started_at: str | None
    completed_at: str | None
    duration_seconds: float | None
    pipeline_stages: list[StageOut]
    resource_usage: UsageOut
    dataset_id: str | None
    dataset_rows_used: int | None
    final_algorithm: str | None
    version_created: str | None


class LogLineOut(TypedDict):
    """One printed line."""

    line: int
    level: str
    message: str
    timestamp: str | None


class LogsOut(TypedDict):
    """Printed lines; ``total_lines`` counts those of the level before paging."""

    model_id: str
    run_id: str
    total_lines: int
    lines: list[LogLineOut]


class LogFileOut(TypedDict):
    """All printed lines."""

    model_id: str
    run_id: str
    lines: list[LogLineOut]


class ArtifactOut(TypedDict):
    """One file of a version."""

    name: str
    format: str
    size_bytes: int
    digest: str


class VersionOut(TypedDict):
    """A version of a model."""

    version_id: str
    model_id: str
    version: int
    status: Literal["ready", "archived"]
    promoted: bool
    run_id: str | None
    hyperparameters: dict[str, Any]
    metrics: dict[str, float | None]
    artifacts: list[ArtifactOut]
    created_at: str


class VersionsOut(TypedDict):
    """One page of versions, newest first."""

    model_id: str
    versions: list[VersionOut]
    next: str | None


class DownloadOut(TypedDict):
    """A link that needs no token, for a while."""

    model_id: str
    version_id: str
    format: str
    filename: str
    size_bytes: int
    digest: str
    download_url: str
    expires_at: str


class AnswerOut(TypedDict, total=False):
    """What a model says of one row."""

    prediction: Any
    probabilities: dict[str, float] | None
    outputs: dict[str, Any]


class TestOut(AnswerOut):
    """What a version says of the inputs: of one row directly, of a list under ``predictions``."""

    model_id: str
    version_id: str
    version: int
    predictions: list[AnswerOut]
    latency_ms: float
    warnings: list[str]


class AuditOut(TypedDict):
    """One line of the audit log."""

    id: int
    action: str
    actor_id: str
    actor_ip: str
    model_id: str
    details: Any
    request_id: str
    timestamp: str
    hash: str


class AuditPageOut(TypedDict):
    """One page of the audit log."""

    model_id: str
    total: int
    page: int
    page_size: int
    entries: list[AuditOut]


class EventOut(TypedDict):
    """Something that happened to a model."""

    event_id: int
    event_type: str
    actor_id: str
    details: Any
    timestamp: str


class ActivityOut(TypedDict):
    """What happened to a model, newest first."""

    model_id: str
    total: int
    limit: int
    offset: int
    events: list[EventOut]
