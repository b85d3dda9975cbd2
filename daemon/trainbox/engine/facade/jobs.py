"""Jobs, as surfaces see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from trainbox.engine import comparison
from trainbox.engine.complaints import change_errors, refuse
from trainbox.engine.explaining import Explainer
from trainbox.engine.facade.rooms import Desk
from trainbox.engine.reproduction import reproduce
from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
)
from trainbox_sdk.calls.jobs import ALONE, IfIdentical, JobChange
from trainbox_sdk.documents import Along
from trainbox_sdk.engine import (
    JobFilter,
    Page,
    Principal,
    Submission,
)
from trainbox_sdk.errors import NotFound
from trainbox_sdk.job_reports import Comparison, Explanation, Freed, Reproduction
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView


class JobDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.jobs.JobCalls`."""

    async def submit(
        self,
        who: Principal,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        if_identical: IfIdentical = IfIdentical.RUN,
        along: Along = ALONE,
    ) -> Submission:
        """Validate everything, then put the job on disk."""
        submission = await self._r.intake.submit(who, spec, idempotency_key, if_identical, along)
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
        for step in await self._r.store.jobs.request_cancel(job_id, who=who.actor) or ():
            self._r.supervisor.cancel(step.id)
        self._r.scheduler.wake()
        return await self._r.access.job(who, job_id)

    async def retry(self, who: Principal, job_id: str) -> JobView:
        """Run failed, cancelled or interrupted steps again."""
        await self._r.access.job(who, job_id, "retry")
        job = await self._r.store.jobs.retry(job_id, who=who.actor)
        self._r.scheduler.wake()
        return job

    async def change_job(self, who: Principal, job_id: str, change: JobChange) -> JobView:
        """Change labels or priority."""
        await self._r.access.job(who, job_id, "change")
        refuse(change_errors(change))
        job = await self._r.store.jobs.change(
            job_id, labels=change.labels, priority=change.priority, who=who.actor
        )
        self._r.scheduler.wake()
        return job

    async def delete_job(self, who: Principal, job_id: str) -> Freed:
        """Free the files of an ended job."""
        await self._r.access.job(who, job_id, "delete")
        return await self._r.reserve.freeing(lambda: self._r.disposal.delete(job_id, who=who.actor))

    async def compare_jobs(self, who: Principal, job_ids: Sequence[str]) -> Comparison:
        """Put jobs side by side."""
        comparison.require_ids(job_ids)
        jobs = [await self._r.access.job(who, job_id) for job_id in job_ids]
        ids = {job.dataset_id for job in jobs if job.dataset_id}
        found = [await self._r.store.datasets.get(dataset_id) for dataset_id in ids]
        return comparison.compare(jobs, {each.id: each for each in found if each})

    async def explain_job(self, who: Principal, job_id: str, *, url: str) -> Explanation:
        """Say why a job waits or how it ended."""
        job = await self._r.access.job(who, job_id)
        return await Explainer(self._r.store, self._r.files).explain(job, url)

    async def reproduce_job(self, who: Principal, job_id: str, *, url: str) -> Reproduction:
        """Return how to submit the same job again."""
        return reproduce(await self._r.access.job(who, job_id), url)

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

    async def _terminal(self, job_id: str | None) -> bool:
        if job_id is None:
            return False
        job = await self._r.store.jobs.get(job_id)
        return job is None or job.state.terminal
