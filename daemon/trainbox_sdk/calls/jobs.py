"""Jobs: submit, follow, end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
)
from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.documents import Along
from trainbox_sdk.job_logs import LogFilter, LogPage
from trainbox_sdk.job_reports import Comparison, Explanation, Freed, Reproduction
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView, State


@dataclass(frozen=True)
class Submission:
    """A job on disk; ``replayed`` when the idempotency key had made it before.

    Attributes:
        reused: it is an identical job of before, which the caller asked for; nothing was stored.
        identical_to: id of an identical job that succeeded or is under way, if there is one.
    """

    job: JobView
    replayed: bool = False
    reused: bool = False
    identical_to: str | None = None


class IfIdentical(StrEnum):
    """What a submission does where the same was done before."""

    RUN = "run"
    REUSE = "reuse"


class JobSort(StrEnum):
    """What a listing is ordered by. By end or duration it holds only jobs that have one."""

    CREATED = "created"
    FINISHED = "finished"
    PRIORITY = "priority"
    DURATION = "duration"


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a listing shows; deleted ones are never among them.

    Attributes:
        labels: ``(key, value)`` that a job must all have; value None for any.
        text: part of the name; the case of ASCII letters does not matter.
        created_after, created_before: from this moment on; up to but without this one.
        after: the cursor of the page before, which came with the same filters and order.
    """

    states: frozenset[State] = frozenset()
    task: str | None = None
    dataset_id: str | None = None
    limit: int = 50
    after: str | None = None
    name: str | None = None
    text: str | None = None
    backend: str | None = None
    labels: frozenset[tuple[str, str | None]] = frozenset()
    created_after: datetime | None = None
    created_before: datetime | None = None
    sort: JobSort = JobSort.CREATED
    descending: bool = True


@dataclass(frozen=True)
class JobChange:
    """What is to change about a job; None leaves it as it is.

    Attributes:
        labels: all labels from now on.
        priority: only while nothing of the job has begun.
    """

    labels: Mapping[str, str] | None = None
    priority: int | None = None


ALONE = Along()
"""A submission with nothing beside it."""


class JobCalls(Protocol):
    """What can be done with jobs."""

    async def submit(
        self,
        who: Principal,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        if_identical: IfIdentical = IfIdentical.RUN,
        along: Along = ALONE,
    ) -> Submission:
        """Validate everything, then put the job on disk.

        Identical is a job of the same owner with the same task, plugin version, environment, plan,
        parameters, data and resources.

        Raises:
            ValidationFailed: unknown task, field, column or dataset; data the task cannot use.
            IdempotencyClash: the key came before with another request.
            Conflict: ``job_exclusive``: another job with ``along.exclusive`` has not ended; or what
                :meth:`~trainbox_sdk.calls.documents.DocumentCalls.write_documents` raises.
        """

    async def job(self, who: Principal, job_id: str) -> JobView:
        """Return one job."""

    async def jobs(self, who: Principal, which: JobFilter) -> Page[JobView]:
        """List jobs.

        Raises:
            ValidationFailed: a cursor that came with other filters or another order.
        """

    async def change_job(self, who: Principal, job_id: str, change: JobChange) -> JobView:
        """Change labels or priority.

        Raises:
            ValidationFailed: labels or a priority that no job may have.
            Conflict: another priority for a job that has begun.
        """

    async def delete_job(self, who: Principal, job_id: str) -> Freed:
        """Free the files of an ended job; its events stay, and what a model needs.

        Raises:
            Conflict: it has not ended.
        """

    async def compare_jobs(self, who: Principal, job_ids: Sequence[str]) -> Comparison:
        """Put jobs side by side.

        Raises:
            ValidationFailed: fewer than 2, more than 20, or one twice.
        """

    async def explain_job(self, who: Principal, job_id: str, *, url: str) -> Explanation:
        """Say why a job waits or how it ended, and what to do next.

        Args:
            who: the caller.
            job_id: the job.
            url: the daemon's, as the caller knows it: the commands name it.
        """

    async def reproduce_job(self, who: Principal, job_id: str, *, url: str) -> Reproduction:
        """Return how to submit the same job again."""

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
        """Iterate the bytes a job printed, attempt after attempt; following waits for the start."""

    async def log_lines(self, who: Principal, job_id: str, which: LogFilter) -> LogPage:
        """Return lines a job printed, as text fit to be shown.

        Bytes that are no UTF-8 are replaced; terminal escapes and control characters are gone.
        """

    async def artifacts(self, who: Principal, job_id: str) -> Sequence[ArtifactView]:
        """List what a job left behind."""

    async def artifact_file(self, who: Principal, artifact_id: str) -> ArtifactFile:
        """Return an artifact's file on this host."""
