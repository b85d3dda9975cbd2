"""What webhooks are to be told, written in the transaction of the fact itself.

A fact that is on the disk is told at least once, whatever becomes of the daemon; one that was
rolled back never. The body is fixed here, so that every attempt sends the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainbox.ids import new_id
from trainbox.store import codec
from trainbox.store.tables import WebhookDeliveryRow, WebhookMessageRow
from trainbox.store.times import moment
from trainbox.store.transaction import Transaction
from trainbox.store.views import Record
from trainbox_sdk.jobs import State

ACTIVE = "active"
PENDING = "pending"
TOLD_STATES = frozenset(
    {
        State.QUEUED,
        State.RUNNING,
        State.SUCCEEDED,
        State.FAILED,
        State.CANCELLED,
        State.INTERRUPTED,
    }
)
"""The states of a job that have an event; the others are too short-lived to act upon."""

LISTENERS_SQL = """
SELECT id, events FROM webhooks
 WHERE state = 'active' AND (owner = :owner OR everyone = 1) ORDER BY seq
"""


def tell(tx: Transaction, kind: str, owner: str, data: Mapping[str, Any]) -> None:
    """Queue one fact for every webhook that wants to hear of it; nothing where none does.

    Args:
        tx: the transaction that makes the fact true.
        kind: one of :data:`trainbox_sdk.webhooks.EVENTS`.
        owner: whose thing it is about.
        data: JSON-able facts.
    """
    listeners = [row["id"] for row in tx.all(LISTENERS_SQL, {"owner": owner}) if _wants(row, kind)]
    if listeners:
        message = write_message(tx, kind, data)
        for webhook_id in listeners:
            queue(tx, webhook_id, message)


def tell_of_job(tx: Transaction, job_id: str) -> None:
    """Queue where a job stands now, if that state has an event."""
    if tx.one("SELECT 1 FROM webhooks WHERE state = 'active' LIMIT 1") is None:
        return  # spares every state of every job the reading of its row
    row = tx.one("SELECT * FROM jobs WHERE id = ?", (job_id,))
    assert row is not None, job_id
    if row["state"] in TOLD_STATES:
        tell(tx, f"job.{row['state']}", row["owner"], _job_facts(row))


def write_message(tx: Transaction, kind: str, data: Mapping[str, Any]) -> int:
    """Store the body of a message, as Standard Webhooks wants it; return its ``seq``."""
    at = moment(tx.now).isoformat().replace("+00:00", "Z")
    body = codec.dump({"type": kind, "timestamp": at, "data": data})
    values = {"id": new_id("msg"), "kind": kind, "body": body, "created_at": tx.now}
    return tx.insert(WebhookMessageRow, values)


def queue(tx: Transaction, webhook_id: str, message_seq: int) -> str:
    """Queue a message for one webhook, due at once; return the delivery's id."""
    values = {
        "id": new_id("dlv"),
        "webhook_id": webhook_id,
        "message_seq": message_seq,
        "state": PENDING,
        "attempts": 0,
        "tries": "[]",
        "next_attempt_at": tx.now,
        "created_at": tx.now,
        "finished_at": None,
    }
    tx.insert(WebhookDeliveryRow, values)
    return str(values["id"])


def _wants(row: Record, kind: str) -> bool:
    wanted = codec.load(row["events"])
    return not wanted or kind in wanted


def _job_facts(row: Record) -> dict[str, Any]:
    times = {
        name: moment(row[name]).isoformat() if row[name] is not None else None
        for name in ("created_at", "started_at", "finished_at")
    }
    return {
        "id": row["id"],
        "name": row["name"],
        "task": row["task"],
        "state": row["state"],
        "reason_code": row["reason_code"],
        "reason": row["reason"],
        "dataset_id": row["dataset_id"],
        "model_id": row["model_id"],
        "labels": codec.load(row["labels"]),
        "metrics": codec.load(row["metrics"]),
        "owner": row["owner"],
        **times,
    }
