"""The fake engine's part of :mod:`trainbox_sdk.calls`: jobs."""

import json
from collections.abc import AsyncIterator, Sequence

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
)
from trainbox_sdk.engine import (
    JobFilter,
    Page,
    Principal,
    Submission,
)
from trainbox_sdk.errors import (
    Conflict,
    IdempotencyClash,
    NotFound,
    ValidationFailed,
)
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView, State
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_datasets import FakeDatasetCalls


class FakeJobCalls(FakeDatasetCalls):
    """In memory, by the same contract."""

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

    async def _check(self, who: Principal, spec: JobSpec) -> None:
        try:
            dataset = await self.dataset(who, spec.dataset_id or "")
        except NotFound:
            dataset = None
        errors = fake_data.spec_errors(spec, dataset)
        if errors:
            raise ValidationFailed("the job cannot be accepted", errors=errors)
