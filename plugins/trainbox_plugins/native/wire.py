"""The words of ``/v1``: what comes in as pydantic models, what goes out as typed dictionaries.

Incoming models refuse unknown fields, wrong types and numbers that JSON does not have. Outgoing
ones are dictionaries, since a checked and a serialised model per answer would cost more than the
answer; tests hold every response against these types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_sdk.jobs import State

Cell = float | int | str | bool | None
Name = Annotated[str, Field(min_length=1, max_length=200)]
Limit = Annotated[int, Field(ge=1, le=500)]
INT64 = 2**63 - 1
"""Largest number a store or a file offset takes; a larger one is a mistake of the caller."""
YEAR_S = 366 * 24 * 3600


class Body(BaseModel):
    """Base of JSON bodies: nothing is guessed, nothing is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ResourcesIn(Body):
    """Overrides of a task's default resources."""

    cpus: Annotated[float, Field(gt=0, le=4096)] | None = None
    memory_bytes: Annotated[int, Field(gt=0, le=INT64)] | None = None
    gpus: Annotated[int, Field(ge=0, le=1024)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=YEAR_S)] | None = None


class JobIn(Body):
    """``POST /v1/jobs``."""

    task: Name
    dataset_id: Name | None = None
    params: dict[str, JsonValue] = Field(default_factory=dict)
    resources: ResourcesIn | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    name: Annotated[str, Field(max_length=200)] = ""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    backend: Name | None = None


class AliasIn(Body):
    """``PUT /v1/models/{name}/aliases/{alias}``."""

    version: Annotated[int, Field(ge=1, le=INT64)]


class PredictIn(Body):
    """``POST /v1/models/{ref}/predict``."""

    rows: Annotated[list[dict[str, Cell]], Field(min_length=1)]


class Query(BaseModel):
    """Base of query strings: text in, so numbers are parsed; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Any listing."""

    limit: Limit = 50
    after: str | None = None


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class JobsQuery(PageQuery):
    """``GET /v1/jobs``; ``state`` takes several, with commas or repeated."""

    state: Annotated[list[State], BeforeValidator(_split)] = []
    task: str | None = None
    dataset: str | None = None


class EventsQuery(Query):
    """An event stream."""

    after: Annotated[int, Field(ge=0, le=INT64)] = 0
    follow: bool | None = None


class LogsQuery(Query):
    """A log."""

    offset: Annotated[int, Field(ge=0, le=INT64)] = 0
    follow: bool = False


class UploadQuery(Query):
    """``POST /v1/datasets``."""

    name: Annotated[str, Field(max_length=200)] = ""
    format: Literal["csv", "parquet"] | None = None


class NoQuery(Query):
    """A route without query."""


class FieldProblem(TypedDict):
    """One thing wrong with a request."""

    loc: list[str | int]
    msg: str
    hint: str


class Problem(TypedDict):
    """RFC 9457 problem document with our extensions."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[FieldProblem]
    hint: str
    request_id: str


class ColumnOut(TypedDict):
    """One column of a dataset."""

    name: str
    type: str
    sql_type: str
    missing: int
    distinct: int
    distinct_exact: bool
    min: Any
    max: Any
    examples: Sequence[Any]


class DatasetOut(TypedDict):
    """A dataset."""

    id: str
    name: str
    digest: str
    source_format: str
    bytes: int
    rows: int
    columns: list[ColumnOut]
    warnings: Sequence[str]
    owner: str
    created_at: datetime


class ResourcesOut(TypedDict):
    """What each step of a job may use."""

    cpus: float
    memory_bytes: int
    gpus: int
    timeout_s: float


class AttemptOut(TypedDict):
    """One sandbox run."""

    id: str
    number: int
    state: str
    exit_code: int | None
    reason_code: str
    started_at: datetime | None
    finished_at: datetime | None
    peak_memory_bytes: int | None


class StepOut(TypedDict):
    """One step of a job."""

    id: str
    name: str
    state: str
    reason_code: str
    reason: str
    after: Sequence[str]
    attempts: list[AttemptOut]


class JobOut(TypedDict):
    """A job."""

    id: str
    name: str
    task: str
    state: str
    reason_code: str
    reason: str
    dataset_id: str | None
    params: Mapping[str, Any]
    resources: ResourcesOut
    priority: int
    labels: Mapping[str, str]
    backend: str
    owner: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: float
    eta_s: float | None
    metrics: Mapping[str, float]
    model_id: str | None
    steps: list[StepOut]


class EventOut(TypedDict):
    """One committed fact about a job."""

    seq: int
    job_id: str
    kind: str
    at: datetime
    data: Mapping[str, Any]


class ArtifactOut(TypedDict):
    """One file a step left behind."""

    id: str
    job_id: str
    step: str
    name: str
    kind: str
    digest: str
    bytes: int
    media_type: str
    created_at: datetime


class ModelOut(TypedDict):
    """One version of a model."""

    id: str
    name: str
    version: int
    job_id: str
    task: str
    artifact_id: str
    digest: str
    bytes: int
    dataset_id: str | None
    signature: Mapping[str, Any]
    metrics: Mapping[str, float]
    parity: Mapping[str, Any]
    aliases: Sequence[str]
    created_at: datetime


class PredictionOut(TypedDict):
    """Rows out."""

    model_id: str
    rows: Sequence[Mapping[str, Any]]
    warnings: Sequence[str]


class TaskOut(TypedDict):
    """A task type."""

    name: str
    title: str
    description: str
    params_schema: Mapping[str, Any]
    needs_dataset: bool
    resources: ResourcesOut
    plugin: str


class PluginOut(TypedDict):
    """One line of the plugin list."""

    name: str
    distribution: str
    version: str
    status: str
    required: bool
    provides: Sequence[str]
    error: str
