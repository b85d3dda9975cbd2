"""Why a job waits, how it ended, and what to do next, with commands that run as they are."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping

from trainbox.engine import evidence, reproduction
from trainbox.engine.complaints import MAX_TIMEOUT_S, amount
from trainbox.engine.reasons import SENTENCES, Advice, Reason, reason_for
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.store import Store
from trainbox_sdk.job_reports import Evidence, Explanation, NextStep, Waiting
from trainbox_sdk.jobs import JobView, State

MIB = 1024**2
MORE = 2.0
"""How much more is proposed where a limit was too low."""


class Explainer:
    """Reads rows and logs; changes nothing.

    Args:
        store: rows.
        files: where the logs lie.
    """

    def __init__(self, store: Store, files: SandboxFiles) -> None:
        self._store = store
        self._files = files

    async def explain(self, job: JobView, url: str) -> Explanation:
        """Say where a job stands and why.

        Args:
            job: the job.
            url: the daemon's, as the caller knows it.
        """
        reason = reason_for(job.state, job.reason_code)
        seen = await self._evidence(job) if job.state.terminal else None
        waiting = await self._waiting(job) if job.state is State.QUEUED else None
        return Explanation(
            job=job,
            kind=reason.kind,
            meaning=reason.meaning,
            waiting=waiting,
            evidence=seen,
            next_steps=next_steps(job, reason, url),
        )

    async def _evidence(self, job: JobView) -> Evidence | None:
        run = evidence.deciding_run(job)
        if run is None:
            return None
        step, attempt = run
        log = self._files.log(attempt.id)
        memory = job.resources.memory_bytes
        return await asyncio.to_thread(evidence.of_attempt, step, attempt, memory, log)

    async def _waiting(self, job: JobView) -> Waiting | None:
        for view in job.steps:
            step = await self._store.jobs.step(view.id)
            if step is None or step.state is not State.QUEUED or not step.after_done:
                continue
            before = await self._store.jobs.waiting_before(step)
            told = await self._store.events.last(job.id, "waiting")
            short = told.data.get("short", {}) if told and not before else {}
            return Waiting(len(before) + 1, before[-1] if before else None, short)
        return None


def next_steps(job: JobView, reason: Reason, url: str) -> tuple[NextStep, ...]:
    """Return what to do next, best first. Pure."""
    steps = [_step(advice, job, url) for advice in reason.advice]
    if job.deleted_at is not None or not job.state.terminal:
        steps = [step for step in steps if "/retry" not in step.curl]
    return tuple(steps)


def _step(advice: Advice, job: JobView, url: str) -> NextStep:
    make = MAKERS.get(advice)
    return make(job, url) if make else NextStep(SENTENCES[advice])


def _wait(job: JobView, url: str) -> NextStep:
    events = reproduction.curl(url, "GET", f"/v1/jobs/{job.id}/events")
    return NextStep(SENTENCES[Advice.WAIT], events, f"trainbox jobs wait {job.id}")


def _retry(job: JobView, url: str) -> NextStep:
    retry = reproduction.curl(url, "POST", f"/v1/jobs/{job.id}/retry")
    return NextStep(SENTENCES[Advice.RETRY], retry, f"trainbox jobs retry {job.id}")


def _read_log(job: JobView, url: str) -> NextStep:
    logs = reproduction.curl(url, "GET", f"/v1/jobs/{job.id}/logs")
    return NextStep(SENTENCES[Advice.READ_LOG], logs, f"trainbox jobs logs {job.id}")


def _look_at_health(job: JobView, url: str) -> NextStep:
    del job
    return NextStep(SENTENCES[Advice.LOOK_AT_HEALTH], f"curl -sS {shlex.quote(url + '/readyz')}")


def _ask_less(job: JobView, url: str) -> NextStep:
    again = reproduction.reproduce(job, url)
    return NextStep(SENTENCES[Advice.ASK_LESS], again.curl, again.cli)


def _mend_request(job: JobView, url: str) -> NextStep:
    again = reproduction.reproduce(job, url)
    return NextStep(SENTENCES[Advice.MEND_REQUEST], again.curl, again.cli)


def _more_memory(job: JobView, url: str) -> NextStep:
    wanted = int(job.resources.memory_bytes * MORE) // MIB * MIB
    again = reproduction.reproduce(job, url, memory_bytes=wanted)
    told = f"Submit it again with more memory: {amount('memory_bytes', wanted)}."
    return NextStep(told, again.curl, again.cli)


def _more_time(job: JobView, url: str) -> NextStep:
    wanted = min(job.resources.timeout_s * MORE, MAX_TIMEOUT_S)
    again = reproduction.reproduce(job, url, timeout_s=wanted)
    return NextStep(f"Submit it again with more time: {wanted:g} s.", again.curl, again.cli)


MAKERS: Mapping[Advice, Callable[[JobView, str], NextStep]] = {
    Advice.WAIT: _wait,
    Advice.RETRY: _retry,
    Advice.MORE_MEMORY: _more_memory,
    Advice.MORE_TIME: _more_time,
    Advice.ASK_LESS: _ask_less,
    Advice.READ_LOG: _read_log,
    Advice.MEND_REQUEST: _mend_request,
    Advice.LOOK_AT_HEALTH: _look_at_health,
}
"""How each advice becomes commands; what has none is a sentence alone."""
