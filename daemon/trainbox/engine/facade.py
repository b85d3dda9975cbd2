"""Implements the SDK's Engine by delegating; contains no decisions of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from trainbox.blobs import BlobStore
from trainbox.clock import now
from trainbox.engine.access import Access
from trainbox.engine.events import EventFeed
from trainbox.engine.intake import Intake
from trainbox.engine.predict import Predictor
from trainbox.engine.readiness import ReadinessProbe
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.scheduler import Scheduler
from trainbox.engine.supervisor import Supervisor
from trainbox.ids import new_id
from trainbox.ingest import Ingest
from trainbox.registry import Registry
from trainbox.store import Store
from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
    DatasetView,
    ModelView,
    Prediction,
    PredictRequest,
)
from trainbox_sdk.engine import (
    Check,
    JobFilter,
    Page,
    PluginInfo,
    Principal,
    Readiness,
    Submission,
)
from trainbox_sdk.errors import FieldError, NotFound, Unauthenticated, ValidationFailed
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView
from trainbox_sdk.tasks import TaskInfo

FORMATS: Mapping[str, Literal["csv", "parquet"]] = {"csv": "csv", "parquet": "parquet"}
LOG_CHUNK = 64 * 1024
LOG_POLL_S = 0.25
MAX_NAME = 128


@dataclass(frozen=True)
class Rooms:
    """What the facade delegates to; built in the composition root."""

    store: Store
    blobs: BlobStore
    ingest: Ingest
    registry: Registry
    access: Access
    intake: Intake
    scheduler: Scheduler
    supervisor: Supervisor
    files: SandboxFiles
    predictor: Predictor
    feed: EventFeed
    readiness: ReadinessProbe
    plugins: Callable[[], Sequence[PluginInfo]]


class EngineFacade:
    """The one object a surface holds (see :class:`trainbox_sdk.engine.Engine`)."""

    def __init__(self, rooms: Rooms) -> None:
        self._r = rooms

    # -- who ----------------------------------------------------------------------------------

    async def authenticate(self, token: str) -> Principal:
        """Return who a bearer token belongs to."""
        principal = await self._r.store.tokens.verify(token)
        if principal is None:
            raise Unauthenticated(
                "this token is not known", hint="send Authorization: Bearer <token>"
            )
        return principal

    # -- data ---------------------------------------------------------------------------------

    async def put_dataset(
        self,
        who: Principal,
        *,
        name: str,
        format: str,
        body: AsyncIterator[bytes],
    ) -> DatasetView:
        """Store a dataset from a stream."""
        self._r.access.require(who, "submit")
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            problem = FieldError(("name",), f"must be 1 to {MAX_NAME} printable characters")
            raise ValidationFailed(f"name: {problem.msg}", errors=[problem])
        known = FORMATS.get(format)
        if known is None:
            problem = FieldError(("format",), f"unknown format {format!r}", "csv or parquet")
            raise ValidationFailed(f"format: {problem.msg}", errors=[problem])
        data = await self._r.ingest.ingest(body, format=known)
        view = DatasetView(
            id=new_id("ds"),
            name=name,
            digest=data.digest,
            source_format=format,
            bytes=data.bytes,
            rows=data.rows,
            columns=data.columns,
            owner=who.id,
            created_at=now(),
            warnings=data.warnings,
        )
        await self._r.store.datasets.insert(view, audit=who.id)
        return view

    async def dataset(self, who: Principal, dataset_id: str) -> DatasetView:
        """Return one dataset."""
        self._r.access.require(who, "read")
        found = await self._r.access.find_dataset(who, dataset_id)
        if found is None:
            raise NotFound(f"no dataset {dataset_id!r}", code="dataset_not_found")
        return found

    async def datasets(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[DatasetView]:
        """List datasets."""
        self._r.access.require(who, "read")
        owner = self._r.access.owner_filter(who)
        return await self._r.store.datasets.list(owner=owner, limit=limit, after=after)

    # -- jobs ---------------------------------------------------------------------------------

    async def submit(
        self, who: Principal, spec: JobSpec, *, idempotency_key: str | None = None
    ) -> Submission:
        """Validate everything, then put the job on disk."""
        submission = await self._r.intake.submit(who, spec, idempotency_key)
        self._r.scheduler.wake()
        return submission

    async def job(self, who: Principal, job_id: str) -> JobView:
        """Return one job."""
        return await self._r.access.job(who, job_id)

    async def jobs(self, who: Principal, which: JobFilter) -> Page[JobView]:
        """List jobs."""
        self._r.access.require(who, "read")
        return await self._r.store.jobs.list(which, self._r.access.owner_filter(who))

    async def cancel(self, who: Principal, job_id: str) -> JobView:
        """Ask for the end of a job."""
        await self._r.access.job(who, job_id, "cancel")
        for step in await self._r.store.jobs.request_cancel(job_id, who=who.id) or ():
            self._r.supervisor.cancel(step.id)
        self._r.scheduler.wake()
        return await self._r.access.job(who, job_id)

    async def retry(self, who: Principal, job_id: str) -> JobView:
        """Run failed, cancelled or interrupted steps again."""
        await self._r.access.job(who, job_id, "retry")
        job = await self._r.store.jobs.retry(job_id, who=who.id)
        self._r.scheduler.wake()
        return job

    async def events(
        self, who: Principal, job_id: str | None, *, after: int = 0, follow: bool = True
    ) -> AsyncIterator[JobEvent]:
        """Iterate committed events."""
        if job_id is None:
            self._r.access.require(who, "admin")
        else:
            await self._r.access.job(who, job_id)

        async def ended() -> bool:
            return not follow or await self._terminal(job_id)

        async for event in self._r.feed.follow(after, job_id, ended):
            yield event

    async def logs(
        self, who: Principal, job_id: str, *, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Iterate what a job printed, attempt after attempt, as one run of bytes."""
        position = offset
        job = await self._r.access.job(who, job_id)
        while True:
            ended = not follow or job.state.terminal
            while chunk := await asyncio.to_thread(_read, self._log_paths(job), position):
                position += len(chunk)
                yield chunk
            if ended:
                return
            await asyncio.sleep(LOG_POLL_S)
            job = await self._r.access.job(who, job_id)

    async def artifacts(self, who: Principal, job_id: str) -> Sequence[ArtifactView]:
        """List what a job left behind."""
        await self._r.access.job(who, job_id)
        return await self._r.store.jobs.artifacts(job_id)

    async def artifact_file(self, who: Principal, artifact_id: str) -> ArtifactFile:
        """Return an artifact's file."""
        view = await self._r.store.jobs.artifact(artifact_id)
        if view is None:
            raise NotFound(f"no artifact {artifact_id!r}", code="artifact_not_found")
        await self._r.access.job(who, view.job_id)
        return ArtifactFile(view, self._r.blobs.path(view.digest))

    # -- models -------------------------------------------------------------------------------

    async def models(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[ModelView]:
        """List models."""
        self._r.access.require(who, "read")
        owner = self._r.access.owner_filter(who)
        return await self._r.store.models.list(owner=owner, limit=limit, after=after)

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model."""
        self._r.access.require(who, "read")
        return await self._r.access.model(who, model)

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's ONNX file."""
        found = await self.model(who, model)
        return await self.artifact_file(who, found.artifact_id)

    async def set_alias(self, who: Principal, model: str, alias: str) -> ModelView:
        """Point an alias at this version."""
        self._r.access.require(who, "submit")
        found = await self._r.access.model(who, model)
        return await self._r.store.models.set_alias(found.id, alias, who=who.id)

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Predict rows in a confined worker process."""
        self._r.access.require(who, "predict")
        model = await self._r.access.model(who, request.model)
        path: Path = self._r.blobs.path(model.digest)
        return await self._r.predictor.predict(model, path, request.rows)

    # -- the daemon ---------------------------------------------------------------------------

    def tasks(self) -> Sequence[TaskInfo]:
        """List task types."""
        return self._r.registry.task_infos()

    def plugins(self) -> Sequence[PluginInfo]:
        """List plugins."""
        return self._r.plugins()

    async def readiness(self) -> Readiness:
        """Look at store, backends and space now."""
        checks: tuple[Check, ...] = await self._r.readiness.checks()
        return Readiness(all(check.ok for check in checks), checks)

    async def environments(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        """List environments and where they are built."""
        self._r.access.require(who, "read")
        return await self._r.readiness.environments()

    async def _terminal(self, job_id: str | None) -> bool:
        if job_id is None:
            return False
        job = await self._r.store.jobs.get(job_id)
        return job is None or job.state.terminal

    def _log_paths(self, job: JobView) -> list[Path]:
        """Return the logs in order, up to the first that may still grow.

        What comes behind a growing one has no fixed place yet: steps may run side by side.
        """
        attempts = [attempt for step in job.steps for attempt in step.attempts]
        attempts.sort(key=lambda attempt: attempt.id)  # ids start with their time
        ended = list(takewhile(lambda attempt: attempt.state.terminal, attempts))
        return [self._r.files.log(attempt.id) for attempt in attempts[: len(ended) + 1]]


def _read(paths: Sequence[Path], position: int) -> bytes:
    """Return the next bytes at a position in the files' concatenation."""
    for path in paths:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue
        if position < size:
            with path.open("rb") as file:
                file.seek(position)
                return file.read(LOG_CHUNK)
        position -= size
    return b""
