"""Jobs: submit, follow, end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
)
from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView, State


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


class JobCalls(Protocol):
    """What can be done with jobs."""

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
