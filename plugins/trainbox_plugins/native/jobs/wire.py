"""The words of ``/v1/jobs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import (
    INT64,
    YEAR_S,
    Body,
    Name,
    PageQuery,
    Query,
)
from trainbox_sdk.jobs import State


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


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class JobsQuery(PageQuery):
    """``GET /v1/jobs``; ``state`` takes several, with commas or repeated."""

    state: Annotated[list[State], BeforeValidator(_split), Field(default_factory=list)]
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
