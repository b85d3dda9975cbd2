"""What was seen when a step ended: exit code, peak memory, the last lines it printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainbox.engine.log_files import DamagedLog, LogFile
from trainbox.engine.reasons import SENTENCES, reason_for
from trainbox.engine.verdict import Verdict
from trainbox.store.records import Outcome
from trainbox_sdk.backends import Observation
from trainbox_sdk.job_reports import Evidence
from trainbox_sdk.jobs import AttemptView, JobView, State, StepView
from trainbox_sdk.log_parsing import shown

LINES = 20
LONGEST_LINE = 500
TAIL_BYTES = 64 * 1024
UPSTREAM = "upstream"


def last_lines(path: Path, count: int = LINES) -> tuple[str, ...]:
    """Return the last lines of a log, each cut to a readable length; none where there is no log."""
    log = LogFile(path)
    found = log.identity()
    begin = max(0, found.bytes - TAIL_BYTES) if found else 0
    try:
        raw = log.read(begin)
    except DamagedLog:
        return ()
    lines = shown(raw).split("\n")
    if begin:
        lines = lines[1:]  # its beginning is not in what was read
    told = [line[:LONGEST_LINE] for line in lines if line.strip()]
    return tuple(told[-count:])


def deciding_run(job: JobView) -> tuple[StepView, AttemptView] | None:
    """Return the step that decided an ended job, and its last attempt; None where none ran."""
    steps = [step for step in job.steps if step.attempts and step.reason_code != UPSTREAM]
    for step in steps:
        if step.state is job.state:
            return step, step.attempts[-1]
    return (steps[-1], steps[-1].attempts[-1]) if steps else None


def told_with_the_end(state: State, outcome: Outcome, log: Path) -> dict[str, Any]:
    """Return what the event of a bad end says beside the reason; JSON-able."""
    reason = reason_for(state, outcome.reason_code)
    return {
        "kind": reason.kind,
        "meaning": reason.meaning,
        "exit_code": outcome.exit_code,
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "log_tail": list(last_lines(log)),
        "next_steps": [SENTENCES[advice] for advice in reason.advice],
    }


def outcome_of(decided: Verdict, seen: Observation, disk: str) -> Outcome:
    """Return what is written down when a sandbox has died.

    Args:
        decided: where the step goes.
        seen: the backend's last look.
        disk: what limited its disk, a sentence.
    """
    return Outcome(
        reason_code=decided.reason_code,
        reason=decided.reason,
        exit_code=seen.exit_code,
        peak_memory_bytes=seen.peak_memory_bytes,
        cpu_s=seen.cpu_s,
        peak_cpus=seen.peak_cpus,
        confinement={**seen.confinement, "disk": disk},
    )


def of_attempt(step: StepView, attempt: AttemptView, memory_bytes: int, log: Path) -> Evidence:
    """Return what is known of one run."""
    ran = attempt.started_at and attempt.finished_at
    return Evidence(
        step=step.name,
        attempt=attempt.number,
        exit_code=attempt.exit_code,
        peak_memory_bytes=attempt.peak_memory_bytes,
        memory_limit_bytes=memory_bytes,
        duration_s=(attempt.finished_at - attempt.started_at).total_seconds()  # type: ignore[operator]
        if ran
        else None,
        log_tail=last_lines(log),
    )
