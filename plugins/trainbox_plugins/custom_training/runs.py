"""Training runs: which job one is, and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping

from trainbox_plugins.custom_training.answers import RunDetailOut, RunOut
from trainbox_plugins.custom_training.names import (
    RUN_LABEL,
    RunStatus,
    in_our_words,
    readable,
    run_status,
    shown,
    stamp,
)
from trainbox_plugins.custom_training.records import RUN, ModelRecord, RunRecord, key, run_of
from trainbox_sdk.documents import DocumentFilter
from trainbox_sdk.engine import Engine, JobFilter, Page, Principal
from trainbox_sdk.errors import NotFound
from trainbox_sdk.jobs import JobView

GIB = 1024**3
PAGE = 200


class Runs:
    """Runs of models."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, model: ModelRecord, run_id: str) -> RunRecord:
        """Return a run of a model.

        Raises:
            NotFound: it has none of that id.
        """
        document = await self._engine.document(key(RUN, run_id))
        if document is None or document.group != model.id:
            raise NotFound(f"Model {model.id!r} has no run {run_id[:80]!r}.")
        return run_of(document)

    async def list(self, model: ModelRecord, limit: int, after: str | None) -> Page[RunRecord]:
        """List a model's runs, newest first."""
        which = DocumentFilter(key(RUN, "").space, RUN, group=model.id, limit=limit, after=after)
        page = await self._engine.documents(which)
        return Page(tuple(run_of(each) for each in page.items), page.next)

    async def job(self, who: Principal, run: RunRecord) -> JobView:
        """Return the job of a run.

        Raises:
            NotFound: it is gone: somebody deleted it by another way than this dialect.
        """
        if run.body.job_id is not None:
            return await self._engine.job(who, run.body.job_id)
        wanted = JobFilter(name=run.model_id, labels=frozenset({(RUN_LABEL, run.id)}), limit=1)
        found = await self._engine.jobs(who, wanted)
        if not found.items:
            raise NotFound(f"The job of run {run.id!r} is gone.")
        return found.items[0]

    async def known_job(self, who: Principal, run: RunRecord) -> JobView | None:
        """Return the job of a run, or None for one that is gone: a listing goes on without it."""
        try:
            return await self.job(who, run)
        except NotFound:
            return None

    async def chosen(
        self, who: Principal, model: ModelRecord, run_id: str | None, *, ended_well: bool = False
    ) -> tuple[RunRecord, JobView]:
        """Return the run that is asked for, or the latest one.

        Args:
            who: who asks.
            model: whose.
            run_id: None for the latest.
            ended_well: the latest that completed, where none is named.

        Raises:
            NotFound: there is none.
        """
        if run_id is not None:
            run = await self.run(model, run_id)
            return run, await self.job(who, run)
        after: str | None = None
        while True:
            page = await self.list(model, PAGE if ended_well else 1, after)
            for run in page.items:
                job = await (self.known_job if ended_well else self.job)(who, run)
                if job is not None and (not ended_well or run_status(job) == "completed"):
                    return run, job
            after = page.next
            if after is None or not ended_well:
                kind = "completed run" if ended_well else "run"
                raise NotFound(f"Model {model.id!r} has no {kind} yet.")


def brief(run: RunRecord, job: JobView) -> RunOut:
    """Return a run as a submission answers it."""
    resources = job.resources
    memory = resources.memory_bytes / GIB
    status: RunStatus = run_status(job)
    return {
        "run_id": run.id,
        "model_id": run.model_id,
        "model_type": run.body.model_type,
        "status": status,
        "entry_point": run.body.entry_point,
        "runtime": run.body.runtime,
        "compute": {
            "cpu_cores": _plain(resources.cpus),
            "memory_gb": _plain(round(memory, 3)),
            "gpu": resources.gpus > 0,
        },
        "run_label": run.body.run_label,
        "created_at": stamp(run.created_at) or "",
        "estimated_start_time": run.body.estimated_start_time if status == "queued" else None,
    }


def full(run: RunRecord, job: JobView) -> RunDetailOut:
    """Return a run and what became of it."""
    body = run.body
    return {
        **brief(run, job),
        "started_at": stamp(job.started_at),
        "completed_at": stamp(job.finished_at),
        "duration_seconds": job.duration_s,
        "progress": job.progress,
        "reason": readable(in_our_words(job.reason)) or None,
        "timeout_seconds": body.timeout_seconds,
        "environment_vars": list(body.environment),
        "assets": [dict(each) for each in body.assets],
        "dataset_id": body.dataset_id,
        "version_created": version_of(job),
        "created_by": body.created_by,
    }


def version_of(job: JobView) -> str | None:
    """Return the version a run has made, if it has."""
    return shown(job.model_id) if job.model_id else None


def note(run_id: str) -> Mapping[str, str]:
    """Return what the audit log says of a run's end."""
    return {"run_id": run_id}


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else number
