"""The words of ``/v1/jobs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, JsonValue
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import (
    INT64,
    YEAR_S,
    Body,
    Name,
    PageQuery,
    Query,
)
from trainbox_sdk.calls.jobs import JobSort
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
    if_identical: Literal["run", "reuse"] = "run"


class JobChangeIn(Body):
    """``PATCH /v1/jobs/{id}``: what is left out stays; labels are replaced as a whole."""

    labels: Annotated[dict[str, str], Field(max_length=64)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Word = Annotated[str, Field(max_length=300)]


class JobsQuery(PageQuery):
    """``GET /v1/jobs``; ``state`` takes several, with commas or repeated.

    ``label`` is ``key`` or ``key:value`` and may be repeated; ``q`` is a part of the name.
    """

    state: Annotated[list[State], BeforeValidator(_split), Field(default_factory=list)]
    task: Word | None = None
    dataset: Word | None = None
    name: Word | None = None
    q: Word | None = None
    backend: Word | None = None
    label: Annotated[
        list[Word], BeforeValidator(_listed), Field(default_factory=list, max_length=16)
    ]
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    sort: JobSort = JobSort.CREATED
    order: Literal["asc", "desc"] = "desc"


class CompareQuery(Query):
    """``GET /v1/jobs/compare``: two to twenty ids, with commas or repeated."""

    ids: Annotated[list[Word], BeforeValidator(_split)]


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
    cpu_s: float | None
    peak_cpus: float | None
    confinement: Mapping[str, str]


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
    duration_s: float | None
    deleted_at: datetime | None


class SubmittedOut(JobOut):
    """A job just submitted; ``identical_to`` is a job that did, or does, the same."""

    identical_to: str | None


class ComparedJobOut(TypedDict):
    """One column of a comparison."""

    id: str
    name: str
    task: str
    state: str
    created_at: datetime
    duration_s: float | None
    resources: ResourcesOut
    peak_memory_bytes: int | None
    dataset_id: str | None
    dataset_digest: str | None
    model_id: str | None


class DifferenceOut(TypedDict):
    """One parameter that differs; null where a job does not have it."""

    path: str
    values: list[Any]


class MetricOut(TypedDict):
    """One metric side by side; ``best`` are positions, empty where nobody says what is better."""

    name: str
    values: list[float | None]
    better: str
    best: list[int]


class ComparisonOut(TypedDict):
    """Jobs side by side, values in the order of ``jobs``."""

    jobs: list[ComparedJobOut]
    params: list[DifferenceOut]
    metrics: list[MetricOut]
    same_data: bool


class ReproductionOut(TypedDict):
    """The same job again: the request's body, and commands that send it."""

    request: Mapping[str, Any]
    curl: str
    cli: str
    python: str


class WaitingOut(TypedDict):
    """Why a queued job does not run yet."""

    position: int
    ahead: str | None
    short: Mapping[str, Mapping[str, float]]


class EvidenceOut(TypedDict):
    """What was seen when a job ended."""

    step: str
    attempt: int
    exit_code: int | None
    peak_memory_bytes: int | None
    memory_limit_bytes: int | None
    duration_s: float | None
    log_tail: list[str]


class NextStepOut(TypedDict):
    """One thing to do now; the commands are empty where none does it."""

    text: str
    curl: str
    cli: str


class ExplanationOut(TypedDict):
    """Where a job stands and why."""

    job_id: str
    state: str
    reason_code: str
    reason: str
    kind: str
    meaning: str
    waiting: WaitingOut | None
    evidence: EvidenceOut | None
    next_steps: list[NextStepOut]


class FreedOut(TypedDict):
    """What a deletion gave back; ``kept`` names artifacts that a model needs."""

    id: str
    bytes_freed: int
    kept: list[str]
    deleted_at: datetime | None


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
