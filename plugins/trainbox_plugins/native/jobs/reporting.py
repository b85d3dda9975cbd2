"""Reports about jobs in the words of ``/v1``: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.jobs import wire
from trainbox_plugins.native.jobs.translate import resources
from trainbox_sdk.job_reports import (
    ComparedJob,
    Comparison,
    Evidence,
    Explanation,
    Freed,
    Reproduction,
    Waiting,
)


def comparison(view: Comparison) -> wire.ComparisonOut:
    """Return a comparison as ``/v1`` says it."""
    return {
        "jobs": [compared(job) for job in view.jobs],
        "params": [{"path": one.path, "values": list(one.values)} for one in view.differences],
        "metrics": [
            {
                "name": one.name,
                "values": list(one.values),
                "better": one.better,
                "best": list(one.best),
            }
            for one in view.metrics
        ],
        "same_data": view.same_data,
    }


def compared(view: ComparedJob) -> wire.ComparedJobOut:
    """Return one column."""
    return {
        "id": view.id,
        "name": view.name,
        "task": view.task,
        "state": view.state.value,
        "created_at": view.created_at,
        "duration_s": view.duration_s,
        "resources": resources(view.resources),
        "peak_memory_bytes": view.peak_memory_bytes,
        "dataset_id": view.dataset_id,
        "dataset_digest": view.dataset_digest,
        "model_id": view.model_id,
    }


def reproduction(view: Reproduction) -> wire.ReproductionOut:
    """Return how to do a job again."""
    return {
        "request": view.request,
        "curl": view.curl,
        "cli": view.cli,
        "python": view.python,
    }


def explanation(view: Explanation) -> wire.ExplanationOut:
    """Return why a job stands where it stands."""
    job = view.job
    return {
        "job_id": job.id,
        "state": job.state.value,
        "reason_code": job.reason_code,
        "reason": job.reason,
        "kind": view.kind,
        "meaning": view.meaning,
        "waiting": _waiting(view.waiting) if view.waiting else None,
        "evidence": _evidence(view.evidence) if view.evidence else None,
        "next_steps": [
            {"text": step.text, "curl": step.curl, "cli": step.cli} for step in view.next_steps
        ],
    }


def freed(view: Freed) -> wire.FreedOut:
    """Return what a deletion gave back."""
    return {
        "id": view.job.id,
        "bytes_freed": view.bytes_freed,
        "kept": list(view.kept),
        "deleted_at": view.job.deleted_at,
    }


def _waiting(view: Waiting) -> wire.WaitingOut:
    return {"position": view.position, "ahead": view.ahead, "short": view.short}


def _evidence(view: Evidence) -> wire.EvidenceOut:
    return {
        "step": view.step,
        "attempt": view.attempt,
        "exit_code": view.exit_code,
        "peak_memory_bytes": view.peak_memory_bytes,
        "memory_limit_bytes": view.memory_limit_bytes,
        "duration_s": view.duration_s,
        "log_tail": list(view.log_tail),
    }
