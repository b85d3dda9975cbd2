"""What may be changed about a job that is stored: labels, priority, and that it is there at all.

Everything here runs inside the caller's transaction, on the writer's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainbox.store import codec
from trainbox.store.moves import require_job
from trainbox.store.references import in_use
from trainbox.store.submitting import label
from trainbox.store.transaction import Transaction
from trainbox_sdk.errors import Conflict
from trainbox_sdk.jobs import State

LOSE_ARTIFACTS_SQL = """
DELETE FROM artifacts
 WHERE job_id = ?1 AND id NOT IN (SELECT artifact_id FROM models WHERE models.job_id = ?1)
RETURNING digest
"""
LET_GO_SQL = """
DELETE FROM job_files WHERE job_seq = (SELECT seq FROM jobs WHERE id = ?) RETURNING digest
"""


@dataclass(frozen=True)
class Deleted:
    """What a deletion left to be freed.

    Attributes:
        steps, attempts: whose scratch and logs may go.
        digests: files of the blob store that no row refers to any more.
        kept: names of artifacts that a model needs.
    """

    steps: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def relabel(tx: Transaction, job_id: str, labels: Mapping[str, str], who: str) -> None:
    """Replace a job's labels."""
    before = tx.one("SELECT labels FROM jobs WHERE id = ?", (job_id,))
    after = codec.dump(labels)
    if before is None or before["labels"] == after:
        return
    tx.execute("UPDATE jobs SET labels = ? WHERE id = ?", (after, job_id))
    label(tx, job_id, labels)
    tx.audit(who, "job.label", job_id, after)


def prioritise(tx: Transaction, job_id: str, priority: int, who: str) -> None:
    """Give a job that waits another priority.

    Raises:
        NotFound: no such job.
        Conflict: it does not wait any more.
    """
    state = require_job(tx, job_id)
    if tx.one("SELECT 1 FROM jobs WHERE id = ? AND priority = ?", (job_id, priority)):
        return
    if state is not State.QUEUED:
        raise Conflict(
            f"{job_id} is {state}; only a queued job can be given another priority",
            code="job_not_queued",
        )
    tx.execute("UPDATE jobs SET priority = ? WHERE id = ?", (priority, job_id))
    tx.execute("UPDATE steps SET priority = ? WHERE job_id = ?", (priority, job_id))
    tx.audit(who, "job.prioritise", job_id, str(priority))
    text = f"priority {priority} from now on, by {who}"
    tx.event(job_id, "message", {"text": text, "level": "info"})


def delete(tx: Transaction, job_id: str, who: str) -> Deleted:
    """Hide an ended job; forget its artifacts but those of models, and the files it was given.

    Raises:
        NotFound: no such job.
        Conflict: it has not ended.
    """
    state = require_job(tx, job_id)
    if not state.terminal:
        raise Conflict(
            f"{job_id} is {state}; only a job that has ended can be deleted",
            code="job_not_ended",
            hint=f"cancel it first: POST /v1/jobs/{job_id}/cancel",
        )
    if tx.changed(
        "UPDATE jobs SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL", (tx.now, job_id)
    ):
        tx.audit(who, "job.delete", job_id)
        tx.event(job_id, "message", {"text": f"deleted by {who}", "level": "info"})
    lost = {
        row["digest"] for sql in (LOSE_ARTIFACTS_SQL, LET_GO_SQL) for row in tx.all(sql, (job_id,))
    }
    return Deleted(
        steps=_ids(tx, "SELECT id FROM steps WHERE job_id = ?", job_id),
        attempts=_ids(tx, "SELECT id FROM attempts WHERE job_id = ?", job_id),
        digests=tuple(sorted(digest for digest in lost if not in_use(tx, digest))),
        kept=_ids(tx, "SELECT name AS id FROM artifacts WHERE job_id = ?", job_id),
    )


def _ids(tx: Transaction, sql: str, job_id: str) -> tuple[str, ...]:
    return tuple(row["id"] for row in tx.all(sql, (job_id,)))
