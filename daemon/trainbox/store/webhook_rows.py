"""Rows of webhooks: to views and back, and what becomes of one after a try.

What takes a transaction runs inside the caller's, on the writer's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trainbox.store import codec, outbox
from trainbox.store.tables import WebhookDeliveryRow, WebhookMessageRow, WebhookRow
from trainbox.store.times import micros, moment
from trainbox.store.transaction import Transaction
from trainbox.store.views import Record
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.webhooks import (
    DeliveryState,
    DeliveryView,
    NewWebhook,
    Try,
    WebhookChange,
    WebhookState,
    WebhookView,
)

RECORD_SQL = """
UPDATE webhook_deliveries
   SET attempts = attempts + 1, tries = :tries, state = :state,
       next_attempt_at = :next_attempt_at, finished_at = :finished_at
 WHERE id = :id AND state = 'pending'
"""
DROP_PENDING_SQL = """
UPDATE webhook_deliveries SET state = 'failed', next_attempt_at = NULL, finished_at = :now
 WHERE webhook_id = :id AND state = 'pending'
"""


@dataclass(frozen=True)
class Due:
    """One delivery to be tried now.

    Attributes:
        secrets: what signs it; more than one while an old secret is still good.
        attempts: tries so far.
    """

    id: str
    webhook_id: str
    message_id: str
    url: str
    body: str
    secrets: tuple[str, ...]
    attempts: int


@dataclass(frozen=True)
class After:
    """What follows from one try.

    Attributes:
        retry_at: when it is tried again; None where it has ended.
        disable: why the webhook is given up; empty where it is not.
        disable_after: seconds of failures without a success after which it is.
    """

    outcome: Try
    delivered: bool
    retry_at: datetime | None = None
    disable: str = ""
    disable_after: float = float("inf")


def webhook_view(row: WebhookRow) -> WebhookView:
    """Return one webhook, without its secrets."""
    return WebhookView(
        id=row.id,
        url=row.url,
        events=tuple(codec.load(row.events)),
        description=row.description,
        everyone=bool(row.everyone),
        state=WebhookState(row.state),
        reason=row.reason,
        owner=row.owner,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        failing_since=moment(row.failing_since),
        old_secret_until=moment(row.old_secret_until),
    )


def delivery_view(row: WebhookDeliveryRow, message: WebhookMessageRow) -> DeliveryView:
    """Return one delivery with its message."""
    tries = (
        Try(moment(one["at"]), one["status"], one["error"], one["duration_s"])
        for one in codec.load(row.tries)
    )
    return DeliveryView(
        id=row.id,
        webhook_id=row.webhook_id,
        message_id=message.id,
        event=message.kind,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        tries=tuple(tries),
        payload=codec.load(message.body),
        created_at=moment(row.created_at),
        next_attempt_at=moment(row.next_attempt_at),
        finished_at=moment(row.finished_at),
    )


def new_values(
    new: NewWebhook, webhook_id: str, owner: str, secret: str, now: int
) -> dict[str, Any]:
    """Return the row of a webhook to be."""
    return {
        "id": webhook_id,
        "owner": owner,
        "everyone": int(new.everyone),
        "url": new.url,
        "events": codec.dump(list(new.events)),
        "description": new.description,
        "state": WebhookState.ACTIVE.value,
        "reason": "",
        "secret": secret,
        "old_secret": None,
        "old_secret_until": None,
        "failing_since": None,
        "created_at": now,
        "updated_at": now,
    }


def change(tx: Transaction, webhook_id: str, change: WebhookChange, who: str) -> None:
    """Change what is given, of an existing webhook.

    Raises:
        NotFound: no such webhook.
    """
    values: dict[str, Any] = {}
    if change.url is not None:
        values["url"] = change.url
    if change.events is not None:
        values["events"] = codec.dump(list(change.events))
    if change.description is not None:
        values["description"] = change.description
    if change.active is not None:
        state = WebhookState.ACTIVE if change.active else WebhookState.PAUSED
        values |= {"state": state.value, "reason": "", "failing_since": None}
    if not values:
        return
    named = ", ".join(f"{name} = :{name}" for name in values)
    if not tx.changed(
        f"UPDATE webhooks SET {named}, updated_at = :now WHERE id = :id",  # noqa: S608 - our names
        {**values, "id": webhook_id, "now": tx.now},
    ):
        raise absent(webhook_id)
    if change.active is False:
        tx.execute(DROP_PENDING_SQL, {"id": webhook_id, "now": tx.now})
    tx.audit(who, "webhook.change", webhook_id, ", ".join(sorted(values)))


def require_active(tx: Transaction, webhook_id: str) -> None:
    """Refuse a webhook that is told nothing.

    Raises:
        NotFound: no such webhook.
        Conflict: it is not active.
    """
    row = tx.one("SELECT state FROM webhooks WHERE id = ?", (webhook_id,))
    if row is None:
        raise absent(webhook_id)
    if row["state"] != WebhookState.ACTIVE:
        raise Conflict(
            f"{webhook_id} is {row['state']}",
            code="webhook_not_active",
            hint='set it to active first: PATCH it with {"active": true}',
        )


def record(tx: Transaction, due: Due, after: After) -> None:
    """Note one try, and what follows from it."""
    row = tx.one("SELECT tries FROM webhook_deliveries WHERE id = ?", (due.id,))
    if row is None:
        return  # its webhook was deleted meanwhile
    one = after.outcome
    told = {"at": micros(one.at), "status": one.status, "error": one.error}
    ended = after.delivered or after.retry_at is None
    state = DeliveryState.FAILED if ended else DeliveryState.PENDING
    values = {
        "id": due.id,
        "tries": codec.dump([*codec.load(row["tries"]), told | {"duration_s": one.duration_s}]),
        "state": (DeliveryState.DELIVERED if after.delivered else state).value,
        "next_attempt_at": None if ended else micros(after.retry_at),
        "finished_at": tx.now if ended else None,
    }
    if not tx.changed(RECORD_SQL, values):
        return  # paused or given up meanwhile; what was sent was sent
    if after.delivered:
        tx.execute("UPDATE webhooks SET failing_since = NULL WHERE id = ?", (due.webhook_id,))
        return
    tx.execute(
        "UPDATE webhooks SET failing_since = COALESCE(failing_since, ?) WHERE id = ?",
        (tx.now, due.webhook_id),
    )
    _disable_if_due(tx, due.webhook_id, after)


def _disable_if_due(tx: Transaction, webhook_id: str, after: After) -> None:
    row = tx.one("SELECT * FROM webhooks WHERE id = ?", (webhook_id,))
    assert row is not None
    reason = after.disable
    failing_s = (tx.now - row["failing_since"]) / 1e6
    if not reason and failing_s > after.disable_after:
        days = after.disable_after / 86_400
        reason = f"nothing was delivered for {days:g} days: {after.outcome.error}"
    if not reason or row["state"] != WebhookState.ACTIVE:
        return
    tx.execute(
        "UPDATE webhooks SET state = 'disabled', reason = ?, updated_at = ? WHERE id = ?",
        (reason, tx.now, webhook_id),
    )
    tx.execute(DROP_PENDING_SQL, {"id": webhook_id, "now": tx.now})
    tx.audit("daemon", "webhook.disable", webhook_id, reason)
    facts = {"webhook_id": webhook_id, "url": row["url"], "reason": reason}
    outbox.tell(tx, "webhook.disabled", row["owner"], facts)


def due_view(row: Record, now: datetime) -> Due:
    """Return a delivery with what signs it now."""
    secrets = [row["secret"]]
    if row["old_secret"] and row["old_secret_until"] > micros(now):
        secrets.append(row["old_secret"])
    return Due(
        id=row["id"],
        webhook_id=row["webhook_id"],
        message_id=row["message_id"],
        url=row["url"],
        body=row["body"],
        secrets=tuple(secrets),
        attempts=row["attempts"],
    )


def absent(webhook_id: str) -> NotFound:
    """Return the error for a webhook that is not there."""
    return NotFound(
        f"no webhook {webhook_id!r}",
        code="webhook_not_found",
        hint="list yours with GET /v1/webhooks",
    )
