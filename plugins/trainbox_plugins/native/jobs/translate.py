"""Between the words of ``/v1/jobs`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.jobs import wire
from trainbox_sdk.artifacts import ArtifactView
from trainbox_sdk.calls.jobs import JobChange
from trainbox_sdk.engine import JobFilter, Submission
from trainbox_sdk.jobs import AttemptView, JobEvent, JobSpec, JobView, Resources, StepView


def job_spec(body: wire.JobIn) -> JobSpec:
    """Return what the engine is asked for."""
    resources = body.resources.model_dump(exclude_none=True) if body.resources else {}
    return JobSpec(
        task=body.task,
        dataset_id=body.dataset_id,
        params=body.params,
        resources=resources,
        priority=body.priority,
        name=body.name,
        labels=body.labels,
        backend=body.backend,
    )


def job_filter(query: wire.JobsQuery) -> JobFilter:
    """Return which jobs a listing shows."""
    return JobFilter(
        states=frozenset(query.state),
        task=query.task,
        dataset_id=query.dataset,
        limit=query.limit,
        after=query.after,
        name=query.name,
        text=query.q or None,
        backend=query.backend,
        labels=frozenset(_label(text) for text in query.label),
        created_after=query.created_after,
        created_before=query.created_before,
        sort=query.sort,
        descending=query.order == "desc",
    )


def _label(text: str) -> tuple[str, str | None]:
    key, colon, value = text.partition(":")
    return key, value if colon else None


def job_change(body: wire.JobChangeIn) -> JobChange:
    """Return what is to change about a job."""
    return JobChange(labels=body.labels, priority=body.priority)


def resources(view: Resources) -> wire.ResourcesOut:
    """Return resources as ``/v1`` says them."""
    return {
        "cpus": view.cpus,
        "memory_bytes": view.memory_bytes,
        "gpus": view.gpus,
        "timeout_s": view.timeout_s,
    }


def attempt(view: AttemptView) -> wire.AttemptOut:
    """Return an attempt as ``/v1`` says it."""
    return {
        "id": view.id,
        "number": view.number,
        "state": view.state.value,
        "exit_code": view.exit_code,
        "reason_code": view.reason_code,
        "started_at": view.started_at,
        "finished_at": view.finished_at,
        "peak_memory_bytes": view.peak_memory_bytes,
        "cpu_s": view.cpu_s,
        "peak_cpus": view.peak_cpus,
        "confinement": view.confinement,
    }


def step(view: StepView) -> wire.StepOut:
    """Return a step as ``/v1`` says it."""
    return {
        "id": view.id,
        "name": view.name,
        "state": view.state.value,
        "reason_code": view.reason_code,
        "reason": view.reason,
        "after": view.after,
        "attempts": [attempt(each) for each in view.attempts],
    }


def job(view: JobView) -> wire.JobOut:
    """Return a job as ``/v1`` says it."""
    return {
        "id": view.id,
        "name": view.name,
        "task": view.task,
        "state": view.state.value,
        "reason_code": view.reason_code,
        "reason": view.reason,
        "dataset_id": view.dataset_id,
        "params": view.params,
        "resources": resources(view.resources),
        "priority": view.priority,
        "labels": view.labels,
        "backend": view.backend,
        "owner": view.owner,
        "created_at": view.created_at,
        "started_at": view.started_at,
        "finished_at": view.finished_at,
        "progress": view.progress,
        "eta_s": view.eta_s,
        "metrics": view.metrics,
        "model_id": view.model_id,
        "steps": [step(each) for each in view.steps],
        "duration_s": view.duration_s,
        "deleted_at": view.deleted_at,
    }


def submitted(submission: Submission) -> wire.SubmittedOut:
    """Return a job just submitted as ``/v1`` says it."""
    return {**job(submission.job), "identical_to": submission.identical_to}


def event(view: JobEvent) -> wire.EventOut:
    """Return an event as ``/v1`` says it."""
    return {
        "seq": view.seq,
        "job_id": view.job_id,
        "kind": view.kind,
        "at": view.at,
        "data": view.data,
    }


def artifact(view: ArtifactView) -> wire.ArtifactOut:
    """Return an artifact as ``/v1`` says it."""
    return {
        "id": view.id,
        "job_id": view.job_id,
        "step": view.step,
        "name": view.name,
        "kind": view.kind,
        "digest": view.digest,
        "bytes": view.bytes,
        "media_type": view.media_type,
        "created_at": view.created_at,
    }
