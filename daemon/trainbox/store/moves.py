"""The one door for state: a compare-and-set, its event, and what follows for the job, together.

Everything here runs inside the caller's transaction, on the writer's thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from trainbox import states
from trainbox.ids import new_id
from trainbox.store import accompaniment, acts, outbox
from trainbox.store.codec import dump, encodable
from trainbox.store.records import Outcome, StepRecord
from trainbox.store.tables import LIVE, AttemptRow
from trainbox.store.times import micros
from trainbox.store.transaction import Transaction
from trainbox.store.triggers import RETRIED
from trainbox.store.views import (
    ACTIVE_STEPS_OF_JOB_SQL,
    AFTER_DONE,
    ONE_STEP_SQL,
    Record,
    step_record,
)
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.jobs import State

UPSTREAM = "upstream"
"""Reason code of a step that was cancelled because another step of its job did not succeed."""
CANCELLED = "cancelled"

BEGIN_SQL = f"""
UPDATE steps AS s
   SET state = 'preparing', attempt = attempt + 1, attempt_id = :attempt_id,
       reason_code = '', reason = ''
 WHERE id = :step_id AND state = 'queued' AND cancel_requested = 0
   AND {AFTER_DONE}
"""  # noqa: S608 - a constant
MOVE_STEP_SQL = """
UPDATE steps SET state = :after, reason_code = :reason_code, reason = :reason
 WHERE id = :step_id AND state = :before AND attempt_id IS :attempt_id
"""
# MAX below: a wall clock set back must not give a negative duration.
MOVE_ATTEMPT_SQL = """
UPDATE attempts
   SET state = :after, reason_code = :reason_code, reason = :reason,
       exit_code = COALESCE(:exit_code, exit_code),
       peak_memory_bytes = COALESCE(:peak_memory_bytes, peak_memory_bytes),
       cpu_s = COALESCE(:cpu_s, cpu_s),
       peak_cpus = COALESCE(:peak_cpus, peak_cpus),
       confinement = COALESCE(:confinement, confinement),
       deadline_at = COALESCE(:deadline_at, deadline_at),
       environment_ref = COALESCE(:environment_ref, environment_ref),
       started_at = CASE WHEN :after = 'running' THEN :now ELSE started_at END,
       finished_at = CASE WHEN :terminal THEN MAX(:now, COALESCE(started_at, created_at)) END
 WHERE id = :attempt_id
"""
MARK_SQL = (
    f"UPDATE steps SET cancel_requested = 1 WHERE job_id = ? AND {LIVE} AND cancel_requested = 0"  # noqa: S608
)
JOB_SQL = """
UPDATE jobs
   SET state = :state, reason_code = :reason_code, reason = :reason,
       progress = MAX(progress, :progress),
       eta_s = CASE WHEN :state = 'running' THEN eta_s END,
       started_at = COALESCE(started_at, CASE WHEN :state = 'running' THEN :now END),
       finished_at = CASE WHEN :terminal THEN MAX(:now, COALESCE(started_at, created_at)) END,
       duration_us = CASE WHEN :terminal THEN MAX(:now - started_at, 0) END
 WHERE id = :id
"""


def begin_attempt(
    tx: Transaction, step_id: str, *, deadline_at: int | None, environment_ref: str
) -> StepRecord | None:
    """Move a queued step to preparing with a new attempt; None where it may not start."""
    attempt_id = new_id("att")
    if not tx.changed(BEGIN_SQL, {"attempt_id": attempt_id, "step_id": step_id}):
        return None
    row = tx.one("SELECT job_id, attempt FROM steps WHERE id = ?", (step_id,))
    assert row is not None
    attempt = {
        "id": attempt_id,
        "job_id": row["job_id"],
        "step_id": step_id,
        "number": row["attempt"],
        "state": State.PREPARING.value,
        "environment_ref": environment_ref,
        "deadline_at": deadline_at,
        "exit_code": None,
        "reason_code": "",
        "reason": "",
        "peak_memory_bytes": None,
        "events_offset": 0,
        "created_at": tx.now,
        "started_at": None,
        "finished_at": None,
        "cpu_s": None,
        "peak_cpus": None,
        "confinement": "{}",
    }
    tx.insert(AttemptRow, attempt)
    return announce(tx, require_step(tx, step_id), came_from=State.QUEUED)


def move(
    tx: Transaction, step: StepRecord, before: State, after: State, outcome: Outcome
) -> StepRecord | None:
    """Move a step and its attempt; a step that ends badly takes the job's queued steps with it.

    Returns:
        The step as it stands now; None where it had already left ``before`` or its attempt.
    """
    values = {
        "step_id": step.id,
        "attempt_id": step.attempt_id,
        "before": before.value,
        "after": after.value,
        "reason_code": encodable(outcome.reason_code),
        "reason": encodable(outcome.reason),
        "exit_code": outcome.exit_code,
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "cpu_s": outcome.cpu_s,
        "peak_cpus": outcome.peak_cpus,
        "confinement": dump(outcome.confinement) if outcome.confinement else None,
        "deadline_at": micros(outcome.deadline_at),
        "environment_ref": outcome.environment_ref,
        "terminal": after.terminal,
        "now": tx.now,
    }
    if not tx.changed(MOVE_STEP_SQL, values):
        return None
    if step.attempt_id is not None:
        tx.changed(MOVE_ATTEMPT_SQL, values)
    doomed = (
        _cancel_queued(tx, step.job_id, _upstream(step.plan.name, after))
        if after in RETRIED
        else []
    )
    moved = announce(tx, require_step(tx, step.id), outcome, came_from=before)
    for step_id in doomed:
        announce(tx, require_step(tx, step_id), came_from=State.QUEUED)
    return moved


def cancel(tx: Transaction, job_id: str, who: str) -> list[StepRecord]:
    """Cancel what is queued, mark what is active, and return the active steps.

    Raises:
        NotFound: no such job.
        Conflict: it has ended.
    """
    state = require_job(tx, job_id)
    if state.terminal:
        raise Conflict(f"{job_id} has already ended: {state}", code="job_ended")
    tx.audit(who, "job.cancel", job_id)
    reason = f"cancelled by {who}"
    queued = _cancel_queued(tx, job_id, (CANCELLED, reason))
    marked = tx.execute(MARK_SQL, (job_id,)).rowcount
    if marked:
        tx.event(job_id, "message", {"text": f"cancel asked for by {who}", "level": "info"})
    for step_id in queued:
        announce(tx, require_step(tx, step_id), came_from=State.QUEUED)
    return [step_record(row) for row in tx.all(ACTIVE_STEPS_OF_JOB_SQL, {"job_id": job_id})]


def retry(tx: Transaction, job_id: str, who: str) -> None:
    """Queue the steps of an ended job that did not succeed once more.

    Raises:
        NotFound: no such job.
        Conflict: it has not ended, or it has succeeded, or another of its kind runs.
    """
    state = require_job(tx, job_id)
    if state not in RETRIED:
        raise Conflict(
            f"{job_id} is {state}; only a failed, cancelled or interrupted job is retried",
            code="job_not_retriable",
        )
    require_kept(tx, job_id)
    job = tx.one("SELECT id, owner, exclusive_key FROM jobs WHERE id = ?", (job_id,))
    assert job is not None
    accompaniment.require_alone(tx, dict(job))
    tx.audit(who, "job.retry", job_id)
    again = tx.all(
        "SELECT id, state FROM steps WHERE job_id = ? AND state <> 'succeeded' ORDER BY position",
        (job_id,),
    )
    tx.execute(
        "UPDATE steps SET state = 'queued', retries = retries + 1, attempt_id = NULL,"
        " cancel_requested = 0, reason_code = '', reason = '', queued_at = ?"
        " WHERE job_id = ? AND state <> 'succeeded'",
        (tx.now, job_id),
    )
    tx.execute("UPDATE jobs SET progress = 0, started_at = NULL WHERE id = ?", (job_id,))
    for row in again:
        announce(tx, require_step(tx, row["id"]), came_from=State(row["state"]))


def explain_wait(
    tx: Transaction, step_id: str, code: str, sentence: str, facts: Mapping[str, Any]
) -> None:
    """Say why a step still waits; nothing is written when that was already said."""
    if not tx.changed(
        "UPDATE steps SET reason_code = :code, reason = :sentence WHERE id = :id"
        " AND state = 'queued' AND (reason_code <> :code OR reason <> :sentence)",
        {"id": step_id, "code": code, "sentence": encodable(sentence)},
    ):
        return
    step = require_step(tx, step_id)
    data = {**facts, "step": step.plan.name, "reason_code": code, "reason": sentence}
    tx.event(step.job_id, "waiting", data)
    refresh_job(tx, step.job_id)


def announce(
    tx: Transaction, step: StepRecord, outcome: Outcome | None = None, *, came_from: State
) -> StepRecord:
    """Bring the job up to date with a step that moved, and append the event of the move."""
    before = require_job(tx, step.job_id)
    job_state = refresh_job(tx, step.job_id)
    row = tx.one("SELECT reason_code, reason FROM steps WHERE id = ?", (step.id,))
    assert row is not None
    data = {
        **(outcome.data if outcome else {}),
        "step": step.plan.name,
        "attempt": step.attempt,
        "from": came_from.value,
        "state": step.state.value,
        "job_state": job_state.value,
        "reason_code": row["reason_code"],
        "reason": row["reason"],
    }
    tx.event(step.job_id, "state", data)
    if job_state is not before:
        outbox.tell_of_job(tx, step.job_id)
        if job_state.terminal:
            acts.write_at_end(tx, step.job_id, job_state)
    return step


def refresh_job(tx: Transaction, job_id: str) -> State:
    """Recompute a job's state, reason and progress from its steps."""
    steps = tx.all(
        "SELECT state, reason_code, reason FROM steps WHERE job_id = ? ORDER BY position", (job_id,)
    )
    state = states.job_state(_speaking(steps))
    terminal = state.terminal
    # What the job says is what the step says that put it into this state.
    words: Record = next(
        (row for row in steps if row["state"] == state and row["reason_code"] != UPSTREAM),
        {"reason_code": "", "reason": ""},
    )
    done = sum(row["state"] == State.SUCCEEDED for row in steps)
    values = {
        "id": job_id,
        "state": state.value,
        "reason_code": words["reason_code"],
        "reason": words["reason"],
        "progress": done / len(steps),
        "terminal": terminal,
        "now": tx.now,
    }
    tx.execute(JOB_SQL, values)
    return state


def require_step(tx: Transaction, step_id: str) -> StepRecord:
    """Return a step that must exist."""
    row = tx.one(ONE_STEP_SQL, {"id": step_id})
    assert row is not None, step_id
    return step_record(row)


def require_job(tx: Transaction, job_id: str) -> State:
    """Return a job's state.

    Raises:
        NotFound: no such job.
    """
    row = tx.one("SELECT state FROM jobs WHERE id = ?", (job_id,))
    if row is None:
        raise NotFound(f"there is no job {job_id}", code="job_not_found")
    return State(row["state"])


def require_kept(tx: Transaction, job_id: str) -> None:
    """Refuse a job whose files were freed.

    Raises:
        Conflict: it was deleted.
    """
    if tx.one("SELECT 1 FROM jobs WHERE id = ? AND deleted_at IS NOT NULL", (job_id,)):
        raise Conflict(
            f"{job_id} was deleted; its files are gone",
            code="job_deleted",
            hint=f"submit it anew: GET /v1/jobs/{job_id}/reproduce says how",
        )


def _speaking(steps: Iterable[Record]) -> Collection[State]:
    # A step cancelled with its siblings says nothing: else an interrupted job would be "cancelled",
    # though nobody asked.
    return [State(row["state"]) for row in steps if row["reason_code"] != UPSTREAM]


def _upstream(name: str, state: State) -> tuple[str, str]:
    return (
        UPSTREAM,
        f"step {name} was {state}" if state is not State.FAILED else f"step {name} failed",
    )


def _cancel_queued(tx: Transaction, job_id: str, reason: tuple[str, str]) -> Sequence[str]:
    """Cancel every queued step of a job and return their ids.

    All of them, not only those that wait for the step that ended: the job has its outcome, and a
    step started now would move it out of a terminal state.
    """
    queued = tx.all(
        "SELECT id FROM steps WHERE job_id = ? AND state = 'queued' ORDER BY position", (job_id,)
    )
    tx.execute(
        "UPDATE steps SET state = 'cancelled', reason_code = ?, reason = ?"
        " WHERE job_id = ? AND state = 'queued'",
        (*reason, job_id),
    )
    return [row["id"] for row in queued]
