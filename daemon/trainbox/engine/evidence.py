"""What was seen when a step ended: exit code, peak memory, the last lines it printed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from trainbox.engine.reasons import SENTENCES, reason_for
from trainbox.store.records import Outcome
from trainbox_sdk.job_reports import Evidence
from trainbox_sdk.jobs import AttemptView, JobView, State, StepView

LINES = 20
LONGEST_LINE = 500
TAIL_BYTES = 64 * 1024
UPSTREAM = "upstream"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
"""Terminal colours and control characters: they would be obeyed where the text is shown."""


def last_lines(path: Path, count: int = LINES) -> tuple[str, ...]:
    """Return the last lines of a log, each cut to a readable length; none where there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            raw = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return ()
    lines = raw.decode("utf-8", "replace").splitlines()
    if size > TAIL_BYTES:
        lines = lines[1:]  # its beginning is not in what was read
    told = [CONTROL.sub("", line)[:LONGEST_LINE] for line in lines if line.strip()]
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
