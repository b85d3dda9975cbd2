"""The fake engine's part of :mod:`trainbox_sdk.calls`: jobs."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
)
from trainbox_sdk.calls.jobs import ALONE, IfIdentical, JobChange
from trainbox_sdk.documents import Act, Along
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
from trainbox_sdk.job_logs import LogFilter, LogPage
from trainbox_sdk.job_reports import Comparison, Explanation, Freed, Reproduction
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView, State
from trainbox_sdk.testing import fake_data, fake_logs, fake_reports
from trainbox_sdk.testing.fake_datasets import FakeDatasetCalls
from trainbox_sdk.testing.fake_documents import FakeDocumentCalls


class FakeJobCalls(FakeDatasetCalls, FakeDocumentCalls):
    """In memory, by the same contract."""

    async def submit(
        self,
        who: Principal,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        if_identical: IfIdentical = IfIdentical.RUN,
        along: Along = ALONE,
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
        same = self._identical(who, spec)
        if same is not None and if_identical is IfIdentical.REUSE:
            return Submission(self._jobs[same], reused=True, identical_to=same)
        self._require_exclusive(who.id, along)
        documents, _ = self._after(along.writes)
        job = fake_data.new_job(self._id("job"), self._id("step"), who, spec)
        self._documents = documents
        self._jobs[job.id], self._alongs[job.id] = job, along
        acts = [Act("job.submit", job.id, spec.task), *along.acts]
        self._note(who.actor, acts, empty=job.id, token_id=who.token_id)
        if idempotency_key is not None:
            self._keys[who.id, idempotency_key] = (job.id, request)
        await self.emit(job.id, "state", state="queued")
        if self.autorun:
            await self.run(job.id)
        return Submission(job, identical_to=same)

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
        mine = [job for job in self._jobs.values() if job.owner == who.id]
        shown = fake_reports.in_order(
            [job for job in mine if fake_reports.shown(job, which)], which
        )
        return fake_data.page(shown, which.limit, which.after)

    async def change_job(self, who: Principal, job_id: str, change: JobChange) -> JobView:
        """Change labels or priority."""
        self._enter("change_job")
        job = await self.job(who, job_id)
        priority = job.priority if change.priority is None else change.priority
        if priority != job.priority and job.state is not State.QUEUED:
            raise Conflict(f"job {job_id} is {job.state}", code="job_not_queued")
        labels = job.labels if change.labels is None else change.labels
        self._jobs[job_id] = replace(job, priority=priority, labels=labels)
        return self._jobs[job_id]

    async def delete_job(self, who: Principal, job_id: str) -> Freed:
        """Hide an ended job; what it printed is freed."""
        self._enter("delete_job")
        job = await self.job(who, job_id)
        if not job.state.terminal:
            raise Conflict(f"job {job_id} is {job.state}", code="job_not_ended")
        self._jobs[job_id] = replace(job, deleted_at=job.deleted_at or fake_data.now())
        return Freed(self._jobs[job_id], len(self.printed.pop(job_id, b"")))

    async def compare_jobs(self, who: Principal, job_ids: Sequence[str]) -> Comparison:
        """Put jobs side by side."""
        self._enter("compare_jobs")
        if len(job_ids) < 2 or len(set(job_ids)) < len(job_ids):  # noqa: PLR2004 - a pair
            raise ValidationFailed("give different ids, two or more")
        return fake_reports.comparison([await self.job(who, job_id) for job_id in job_ids])

    async def explain_job(self, who: Principal, job_id: str, *, url: str) -> Explanation:
        """Say where a job stands."""
        self._enter("explain_job")
        return fake_reports.explanation(await self.job(who, job_id), url)

    async def reproduce_job(self, who: Principal, job_id: str, *, url: str) -> Reproduction:
        """Say how to submit a job again."""
        self._enter("reproduce_job")
        return fake_reports.reproduction(await self.job(who, job_id), url)

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
        self._require_exclusive(who.id, self._alongs.get(job_id, ALONE))
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

    async def log_lines(self, who: Principal, job_id: str, which: LogFilter) -> LogPage:
        """Return printed lines; the fake knows neither their time nor their stream."""
        self._enter("log_lines")
        await self.job(who, job_id)
        return fake_logs.page(self.printed.get(job_id, b""), which)

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

    def _require_exclusive(self, owner: str, along: Along) -> None:
        for job_id, other in self._alongs.items():
            job = self._jobs[job_id]
            same = along.exclusive and (job.owner, other.exclusive) == (owner, along.exclusive)
            if same and not job.state.terminal:
                raise Conflict(f"job {job_id} has not ended", code="job_exclusive")

    def _identical(self, who: Principal, spec: JobSpec) -> str | None:
        wanted = (who.id, None, spec.task, spec.dataset_id, dict(spec.params))
        for job in reversed(self._jobs.values()):
            fine = job.state is State.SUCCEEDED or not job.state.terminal
            known = (job.owner, job.deleted_at, job.task, job.dataset_id, dict(job.params))
            if fine and known == wanted:
                return job.id
        return None

    async def _check(self, who: Principal, spec: JobSpec) -> None:
        if any(spec.task == task.name for task in self.further_tasks):
            return
        try:
            dataset = await self.dataset(who, spec.dataset_id or "")
        except NotFound:
            dataset = None
        errors = fake_data.spec_errors(spec, dataset)
        if errors:
            raise ValidationFailed("the job cannot be accepted", errors=errors)
