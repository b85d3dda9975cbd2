"""An engine in memory for tests of surfaces: same contract, no disk, nothing trained.

A test drives jobs by hand (``emit``, ``write_log``, ``finish``) or lets every submitted job run to
its end at once with ``autorun``. It says honestly what it lacks: files, sandboxes and types richer
than text and number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
    DatasetView,
    ModelView,
    Prediction,
    PredictRequest,
)
from trainbox_sdk.engine import (
    JobFilter,
    Page,
    PluginInfo,
    Principal,
    Readiness,
    Submission,
)
from trainbox_sdk.errors import (
    Conflict,
    IdempotencyClash,
    NotFound,
    Unauthenticated,
    ValidationFailed,
)
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView, State
from trainbox_sdk.tasks import TaskInfo
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import ONNX_BYTES, OTHER_TOKEN, TOKEN, FakeJobs

__all__ = ["ONNX_BYTES", "OTHER_TOKEN", "TOKEN", "FakeEngine"]


class FakeEngine(FakeJobs):
    """Implements :class:`trainbox_sdk.engine.Engine`; :class:`FakeJobs` says how to drive it."""

    async def authenticate(self, token: str) -> Principal:
        """Return who a token belongs to."""
        self._enter("authenticate")
        if token not in self.principals:
            raise Unauthenticated("this token is not known", hint="Use the token of this daemon.")
        return self.principals[token]

    async def put_dataset(
        self,
        who: Principal,
        *,
        name: str,
        format: str,
        body: AsyncIterator[bytes],
    ) -> DatasetView:
        """Store a CSV; the rows are counted, columns are text or number."""
        self._enter("put_dataset")
        data = b"".join([chunk async for chunk in body])
        columns, rows = fake_data.profile(data) if format == "csv" else ((), 0)
        view = DatasetView(
            id=self._id("ds"),
            name=name or "dataset",
            digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
            source_format=format,
            bytes=len(data),
            rows=rows,
            columns=columns,
            owner=who.id,
            created_at=fake_data.now(),
        )
        self._datasets[view.id] = view
        return view

    async def dataset(self, who: Principal, dataset_id: str) -> DatasetView:
        """Return a dataset by id or name."""
        self._enter("dataset")
        mine = [view for view in self._datasets.values() if view.owner == who.id]
        for view in reversed(mine):
            if dataset_id in (view.id, view.name):
                return view
        raise NotFound(f"no dataset {dataset_id!r}", code="dataset_not_found")

    async def datasets(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[DatasetView]:
        """List datasets, newest first."""
        self._enter("datasets")
        return fake_data.page(
            [v for v in self._datasets.values() if v.owner == who.id], limit, after
        )

    async def submit(
        self, who: Principal, spec: JobSpec, *, idempotency_key: str | None = None
    ) -> Submission:
        """Check as the real intake does, then remember the job."""
        self._enter("submit")
        await self._check(who, spec)
        request = json.dumps(fake_data.plain(spec), sort_keys=True)
        if idempotency_key is not None:
            known = self._keys.get((who.id, idempotency_key))
            if known is not None and known[1] != request:
                raise IdempotencyClash(f"key {idempotency_key!r} came with another request")
            if known is not None:
                return Submission(self._jobs[known[0]], replayed=True)
        job = fake_data.new_job(self._id("job"), self._id("step"), who, spec)
        self._jobs[job.id] = job
        if idempotency_key is not None:
            self._keys[who.id, idempotency_key] = (job.id, request)
        await self.emit(job.id, "state", state="queued")
        if self.autorun:
            await self.run(job.id)
        return Submission(job)

    async def job(self, who: Principal, job_id: str) -> JobView:
        """Return one job."""
        self._enter("job")
        view = self._jobs.get(job_id)
        if view is None or view.owner != who.id:
            raise NotFound(f"no job {job_id!r}", code="job_not_found")
        return view

    async def jobs(self, who: Principal, which: JobFilter) -> Page[JobView]:
        """List jobs, newest first."""
        self._enter("jobs")
        shown = [
            job
            for job in self._jobs.values()
            if job.owner == who.id
            and (not which.states or job.state in which.states)
            and which.task in (None, job.task)
            and which.dataset_id in (None, job.dataset_id)
        ]
        return fake_data.page(shown, which.limit, which.after)

    async def cancel(self, who: Principal, job_id: str) -> JobView:
        """End a job at once."""
        self._enter("cancel")
        job = await self.job(who, job_id)
        if job.state.terminal:
            raise Conflict(f"job {job_id} has already {job.state}", code="job_ended")
        await self.finish(job_id, State.CANCELLED, "someone asked")
        return self._jobs[job_id]

    async def retry(self, who: Principal, job_id: str) -> JobView:
        """Queue an unsuccessful job again."""
        self._enter("retry")
        job = await self.job(who, job_id)
        if not job.state.terminal or job.state is State.SUCCEEDED:
            raise Conflict(f"job {job_id} is {job.state}", code="not_retryable")
        await self.emit(job_id, "state", state="queued")
        return self._jobs[job_id]

    async def events(
        self, who: Principal, job_id: str | None, *, after: int = 0, follow: bool = True
    ) -> AsyncIterator[JobEvent]:
        """Iterate events; ends after the event that ended the job for good."""
        self._enter("events")
        if job_id is not None:
            await self.job(who, job_id)
        position = after
        while True:
            for event in self._events[position:]:
                position = event.seq
                if self._shows(who, job_id, event):
                    yield event
            if not follow or (job_id is not None and self._jobs[job_id].state.terminal):
                return
            async with self._news:
                if len(self._events) == position:
                    await self._news.wait()

    async def logs(
        self, who: Principal, job_id: str, *, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Iterate what the job printed."""
        self._enter("logs")
        await self.job(who, job_id)
        while True:
            fresh = self.printed.get(job_id, b"")[offset:]
            if fresh:
                offset += len(fresh)
                yield fresh
                continue
            if not follow or self._jobs[job_id].state.terminal:
                return
            async with self._news:
                if len(self.printed.get(job_id, b"")) == offset:
                    await self._news.wait()

    async def artifacts(self, who: Principal, job_id: str) -> Sequence[ArtifactView]:
        """List what a job left behind."""
        self._enter("artifacts")
        await self.job(who, job_id)
        return [file.view for file in self._artifacts.values() if file.view.job_id == job_id]

    async def artifact_file(self, who: Principal, artifact_id: str) -> ArtifactFile:
        """Return an artifact's file."""
        self._enter("artifact_file")
        file = self._artifacts.get(artifact_id)
        if file is None or self._jobs[file.view.job_id].owner != who.id:
            raise NotFound(f"no artifact {artifact_id!r}", code="artifact_not_found")
        return file

    async def models(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[ModelView]:
        """List models, newest first."""
        self._enter("models")
        return fake_data.page(
            [m for m in self._models.values() if self._owns(who, m)], limit, after
        )

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model by id, ``name``, ``name:version`` or ``name@alias``."""
        self._enter("model")
        for view in reversed(list(self._models.values())):
            names = {view.id, view.name, f"{view.name}:{view.version}"}
            names |= {f"{view.name}@{alias}" for alias in view.aliases}
            if model in names and self._owns(who, view):
                return view
        raise NotFound(f"no model {model!r}", code="model_not_found")

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's file."""
        self._enter("model_file")
        return self._artifacts[(await self.model(who, model)).artifact_id]

    async def set_alias(self, who: Principal, model: str, alias: str) -> ModelView:
        """Point an alias at a version."""
        self._enter("set_alias")
        target = await self.model(who, model)
        for view in list(self._models.values()):
            if view.name == target.name:
                kept = tuple(known for known in view.aliases if known != alias)
                self._models[view.id] = replace(view, aliases=kept)
        target = replace(self._models[target.id])
        target = replace(target, aliases=(*target.aliases, alias))
        self._models[target.id] = target
        return target

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Answer a constant for rows with exactly the columns of the signature."""
        self._enter("predict")
        model = await self.model(who, request.model)
        names = {column["name"] for column in model.signature["inputs"]}
        errors = [
            error
            for at, row in enumerate(request.rows)
            for error in fake_data.compare(at, row, names)
        ]
        if errors:
            raise ValidationFailed("the rows do not fit the model", errors=errors)
        rows = [{"prediction": "yes", "probabilities": {"yes": 0.75, "no": 0.25}}]
        return Prediction(model.id, rows * len(request.rows), ())

    def tasks(self) -> Sequence[TaskInfo]:
        """List the one task."""
        self._enter("tasks")
        return (fake_data.TASK,)

    def plugins(self) -> Sequence[PluginInfo]:
        """List one plugin of each sort."""
        self._enter("plugins")
        return (
            PluginInfo(
                "fake", "trainbox", "0", "loaded", required=True, provides=("task:binclass",)
            ),
            PluginInfo(
                "broken", "acme", "1", "quarantined", required=False, error="ImportError: x"
            ),
        )

    async def readiness(self) -> Readiness:
        """Report the checks a test has set."""
        self._enter("readiness")
        return Readiness(all(check.ok for check in self.checks), self.checks)

    async def environments(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        """List one environment."""
        self._enter("environments")
        del who
        build = {"backend": "fake", "reference": "fake", "bytes": 1, "base": "", "created_at": None}
        return ({"name": "tabular", "python": "3.11", "digest": "0" * 64, "builds": [build]},)

    async def _check(self, who: Principal, spec: JobSpec) -> None:
        try:
            dataset = await self.dataset(who, spec.dataset_id or "")
        except NotFound:
            dataset = None
        errors = fake_data.spec_errors(spec, dataset)
        if errors:
            raise ValidationFailed("the job cannot be accepted", errors=errors)
