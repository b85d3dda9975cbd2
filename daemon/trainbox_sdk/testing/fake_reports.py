"""What the fake engine tells about jobs: the same shapes, from its own few facts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trainbox_sdk.calls.jobs import JobFilter, JobSort
from trainbox_sdk.job_reports import (
    ComparedJob,
    ComparedMetric,
    Comparison,
    Difference,
    Explanation,
    NextStep,
    Reproduction,
    Waiting,
)
from trainbox_sdk.jobs import JobView, State


def shown(job: JobView, which: JobFilter) -> bool:
    """Return whether a listing has this job."""
    return (
        job.deleted_at is None
        and (not which.states or job.state in which.states)
        and which.task in (None, job.task)
        and which.dataset_id in (None, job.dataset_id)
        and which.name in (None, job.name)
        and which.backend in (None, job.backend)
        and (which.text or "").lower() in job.name.lower()
        and all(
            key in job.labels and value in (None, job.labels[key]) for key, value in which.labels
        )
        and (which.created_after is None or job.created_at >= which.created_after)
        and (which.created_before is None or job.created_at < which.created_before)
        and (which.sort not in {JobSort.FINISHED, JobSort.DURATION} or job.finished_at is not None)
    )


def in_order(jobs: Sequence[JobView], which: JobFilter) -> list[JobView]:
    """Return jobs with the last to be shown first, as pages are cut."""
    if which.sort is JobSort.PRIORITY:
        jobs = sorted(jobs, key=lambda job: job.priority)
    return list(jobs) if which.descending else list(reversed(jobs))


def comparison(jobs: Sequence[JobView]) -> Comparison:
    """Put jobs side by side."""
    paths = sorted({path for job in jobs for path in job.params})
    names = sorted({name for job in jobs for name in job.metrics})
    return Comparison(
        jobs=tuple(_column(job) for job in jobs),
        differences=tuple(
            Difference(path, values)
            for path in paths
            if len(set(map(str, values := tuple(job.params.get(path) for job in jobs)))) > 1
        ),
        metrics=tuple(
            ComparedMetric(name, tuple(job.metrics.get(name) for job in jobs), "", ())
            for name in names
        ),
        same_data=len({job.dataset_id for job in jobs}) == 1,
    )


def explanation(job: JobView, url: str) -> Explanation:
    """Say where a job stands."""
    queued = job.state is State.QUEUED
    step = NextStep("Look again.", f"curl {url}/v1/jobs/{job.id}", f"trainbox jobs show {job.id}")
    return Explanation(
        job=job,
        kind="waiting" if queued else "",
        meaning="",
        waiting=Waiting(1) if queued else None,
        evidence=None,
        next_steps=(step,),
    )


def reproduction(job: JobView, url: str) -> Reproduction:
    """Say how to submit a job again."""
    body = {"task": job.task, "dataset_id": job.dataset_id, "params": dict(job.params)}
    text = json.dumps(body)
    return Reproduction(
        body,
        curl=f"curl {url}/v1/jobs --json '{text}'",
        cli=f"trainbox jobs submit {job.task} --dataset {job.dataset_id}",
        python=f"Client().jobs.submit(**{body!r})",
    )


def _column(job: JobView) -> ComparedJob:
    return ComparedJob(
        id=job.id,
        name=job.name,
        task=job.task,
        state=job.state,
        created_at=job.created_at,
        duration_s=job.duration_s,
        resources=job.resources,
        peak_memory_bytes=None,
        dataset_id=job.dataset_id,
        dataset_digest=None,
        model_id=job.model_id,
    )
