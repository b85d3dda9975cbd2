"""The Engine: the only thing a surface may call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
    DatasetView,
    ModelView,
    Prediction,
    PredictRequest,
)
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView, State
from trainbox_sdk.tasks import TaskInfo

T = TypeVar("T")


@dataclass(frozen=True)
class Principal:
    """Who asks: made by :meth:`Engine.authenticate`, never by a surface from thin air."""

    id: str
    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a listing; ``next`` is an opaque cursor, None on the last page."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True)
class Submission:
    """A job on disk; ``replayed`` when the idempotency key had made it before."""

    job: JobView
    replayed: bool = False


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a listing shows."""

    states: frozenset[State] = frozenset()
    task: str | None = None
    dataset_id: str | None = None
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True)
class PluginInfo:
    """One line of the plugin list.

    Attributes:
        status: ``loaded``, ``quarantined`` (broken and optional), ``not listed`` (installed, absent
            from plugins.toml, never imported) or ``missing`` (listed, not installed).
        provides: what it registered, such as ``task:regression``.
    """

    name: str
    distribution: str
    version: str
    status: str
    required: bool
    provides: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Check:
    """One line of a health report."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Readiness:
    """Whether the daemon can take and run work, check by check."""

    ready: bool
    checks: tuple[Check, ...] = field(default=())


class Engine(Protocol):
    """Everything the daemon can do, in its own words.

    Every method takes the principal first, authorises it, and raises
    :class:`~trainbox_sdk.errors.TrainboxError` subclasses only.
    """

    async def authenticate(self, token: str) -> Principal:
        """Return who this bearer token belongs to.

        Raises:
            Unauthenticated: unknown, revoked or malformed.
        """

    async def put_dataset(
        self, who: Principal, *, name: str, format: str, body: AsyncIterator[bytes]
    ) -> DatasetView:
        """Store a dataset from a stream; nothing remains of one that fails.

        Args:
            who: the caller.
            name: for people.
            format: ``csv`` or ``parquet``.
            body: the bytes.

        Raises:
            ValidationFailed: unreadable data; says row, column and rule.
            TooLarge: over the configured bytes, rows or columns.
        """

    async def dataset(self, who: Principal, dataset_id: str) -> DatasetView:
        """Return one dataset by id or, for the newest of that name, by name."""

    async def datasets(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[DatasetView]:
        """List datasets, newest first."""

    async def submit(
        self, who: Principal, spec: JobSpec, *, idempotency_key: str | None = None
    ) -> Submission:
        """Validate everything, then put the job on disk.

        Raises:
            ValidationFailed: unknown task, field, column or dataset; data the task cannot use.
            IdempotencyClash: the key came before with another request.
        """

    async def job(self, who: Principal, job_id: str) -> JobView:
        """Return one job."""

    async def jobs(self, who: Principal, which: JobFilter) -> Page[JobView]:
        """List jobs, newest first."""

    async def cancel(self, who: Principal, job_id: str) -> JobView:
        """Ask for the end of a job; returns at once, the end arrives as an event.

        Raises:
            Conflict: the job has ended.
        """

    async def retry(self, who: Principal, job_id: str) -> JobView:
        """Run the failed, cancelled or interrupted steps of a job again, as new attempts.

        Raises:
            Conflict: the job is not in such a state.
        """

    def events(
        self, who: Principal, job_id: str | None, *, after: int = 0, follow: bool = True
    ) -> AsyncIterator[JobEvent]:
        """Iterate committed events with ``seq > after``; ends after a job's terminal event."""

    def logs(
        self, who: Principal, job_id: str, *, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Iterate the bytes a job printed, attempt after attempt."""

    async def artifacts(self, who: Principal, job_id: str) -> Sequence[ArtifactView]:
        """List what a job left behind."""

    async def artifact_file(self, who: Principal, artifact_id: str) -> ArtifactFile:
        """Return an artifact's file on this host."""

    async def models(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[ModelView]:
        """List models, newest first."""

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model by id, ``name``, ``name:version`` or ``name@alias``."""

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's ONNX file on this host."""

    async def set_alias(self, who: Principal, model: str, alias: str) -> ModelView:
        """Point ``alias`` of the model's name at this version."""

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Predict rows in a confined worker process.

        Raises:
            ValidationFailed: missing, extra or wrongly typed columns; says row and column.
            Unavailable: the worker died or ran out of time; says which.
        """

    def tasks(self) -> Sequence[TaskInfo]:
        """List task types."""

    def plugins(self) -> Sequence[PluginInfo]:
        """List plugins, loaded and not."""

    async def readiness(self) -> Readiness:
        """Look at store, backends and space now."""

    async def environments(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        """List the environments tasks need, and per backend whether they are built."""
