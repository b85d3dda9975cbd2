"""Webhooks and their outbox: who is told, what is due, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlmodel import col, select

from trainbox.cancellation import whole
from trainbox.ids import new_id
from trainbox.store import codec, cursors, outbox
from trainbox.store.reader import Reader
from trainbox.store.tables import WebhookDeliveryRow, WebhookMessageRow, WebhookRow
from trainbox.store.times import micros, moment
from trainbox.store.transaction import Transaction
from trainbox.store.views import Record
from trainbox.store.writer import Writer
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.webhooks import (
    TEST_EVENT,
    DeliveryState,
    DeliveryView,
    NewWebhook,
    Try,
    WebhookChange,
    WebhookState,
    WebhookView,
)

DUE_SQL = """
SELECT d.id, d.webhook_id, d.attempts, m.id AS message_id, m.body, w.url, w.secret,
       w.old_secret, w.old_secret_until, w.failing_since
  FROM webhooks AS w
  JOIN webhook_deliveries AS d ON d.webhook_id = w.id
  JOIN webhook_messages AS m ON m.seq = d.message_seq
 WHERE w.id = :webhook AND w.state = 'active' AND d.next_attempt_at <= :now
 ORDER BY d.next_attempt_at LIMIT :limit
"""
NEXT_SQL = """
SELECT MIN((SELECT MIN(d.next_attempt_at) FROM webhook_deliveries AS d
             WHERE d.webhook_id = w.id AND d.next_attempt_at IS NOT NULL)) AS at
  FROM webhooks AS w WHERE w.state = 'active'
"""
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
FORGET_SQL = """
DELETE FROM webhook_deliveries WHERE seq IN (
    SELECT seq FROM webhook_deliveries WHERE finished_at < :before LIMIT :limit)
"""
FORGET_MESSAGES_SQL = """
DELETE FROM webhook_messages WHERE seq IN (
    SELECT seq FROM webhook_messages AS m WHERE created_at < :before
       AND NOT EXISTS (SELECT 1 FROM webhook_deliveries WHERE message_seq = m.seq) LIMIT :limit)
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


class WebhookStore:
    """Webhooks. Secrets come out of here only to be shown once or to sign."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(self, new: NewWebhook, *, owner: str, secret: str, most: int) -> WebhookView:
        """Store a webhook.

        Raises:
            Conflict: the owner has ``most`` already.
        """
        webhook_id = new_id("whk")

        def insert(tx: Transaction) -> None:
            have = tx.one("SELECT COUNT(*) AS n FROM webhooks WHERE owner = ?", (owner,))
            assert have is not None
            if have["n"] >= most:
                raise Conflict(
                    f"there are {have['n']} webhooks of yours, which is the most",
                    code="too_many_webhooks",
                    hint="delete one, or let one receiver take several events",
                )
            tx.insert(WebhookRow, _values(new, webhook_id, owner, secret, tx.now))
            tx.audit(owner, "webhook.create", webhook_id, new.url)

        await self._writer.write(insert)
        return await self._existing(webhook_id)

    async def get(self, webhook_id: str) -> WebhookView | None:
        """Return one webhook."""
        async with self._reader.session() as session:
            row = (
                await session.exec(select(WebhookRow).where(col(WebhookRow.id) == webhook_id))
            ).first()
        return webhook_view(row) if row else None

    async def list(
        self, owner: str | None, *, limit: int = 50, after: str | None = None
    ) -> Page[WebhookView]:
        """Return one page, newest first; ``owner`` None for everyone's."""
        size = cursors.page_size(limit)
        conditions = [col(WebhookRow.seq) < cursors.decode("webhooks", after)]
        if owner is not None:
            conditions.append(col(WebhookRow.owner) == owner)
        statement = (
            select(WebhookRow)
            .where(*conditions)
            .order_by(col(WebhookRow.seq).desc())
            .limit(size + 1)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return cursors.page("webhooks", rows, size, lambda row: row.seq, webhook_view)

    async def change(self, webhook_id: str, change: WebhookChange, *, who: str) -> WebhookView:
        """Change a webhook; what waits for one that is paused is dropped.

        Raises:
            NotFound: no such webhook.
        """
        await self._writer.write(lambda tx: _change(tx, webhook_id, change, who))
        return await self._existing(webhook_id)

    async def rotate(
        self, webhook_id: str, secret: str, *, overlap: timedelta, who: str
    ) -> WebhookView:
        """Put a new secret in; the old one signs beside it for a while.

        Raises:
            NotFound: no such webhook.
        """

        def rotate(tx: Transaction) -> None:
            until = tx.now + overlap // timedelta(microseconds=1)
            if not tx.changed(
                "UPDATE webhooks SET old_secret = secret, old_secret_until = ?, secret = ?,"
                " updated_at = ? WHERE id = ?",
                (until, secret, tx.now, webhook_id),
            ):
                raise _absent(webhook_id)
            tx.audit(who, "webhook.rotate", webhook_id)

        await self._writer.write(rotate)
        return await self._existing(webhook_id)

    async def delete(self, webhook_id: str, *, who: str) -> None:
        """Delete a webhook and its log.

        Raises:
            NotFound: no such webhook.
        """

        def delete(tx: Transaction) -> None:
            tx.execute("DELETE FROM webhook_deliveries WHERE webhook_id = ?", (webhook_id,))
            if not tx.changed("DELETE FROM webhooks WHERE id = ?", (webhook_id,)):
                raise _absent(webhook_id)
            tx.audit(who, "webhook.delete", webhook_id)

        await self._writer.write(delete)

    # -- deliveries ---------------------------------------------------------------------------

    async def test(self, webhook_id: str, *, who: str) -> DeliveryView:
        """Queue a test message.

        Raises:
            Conflict: the webhook is not active.
        """

        def test(tx: Transaction) -> str:
            _require_active(tx, webhook_id)
            message = outbox.write_message(tx, TEST_EVENT, {"webhook_id": webhook_id, "by": who})
            return outbox.queue(tx, webhook_id, message)

        return await self._delivery(await self._writer.write(test))

    async def redeliver(self, webhook_id: str, delivery_id: str, *, who: str) -> DeliveryView:
        """Queue an ended delivery's message once more.

        Raises:
            NotFound: no such delivery of this webhook.
            Conflict: the webhook is not active, or the delivery is still under way.
        """

        def again(tx: Transaction) -> str:
            _require_active(tx, webhook_id)
            row = tx.one(
                "SELECT message_seq, state FROM webhook_deliveries WHERE id = ? AND webhook_id = ?",
                (delivery_id, webhook_id),
            )
            if row is None:
                raise NotFound(
                    f"no delivery {delivery_id!r} of {webhook_id}", code="delivery_not_found"
                )
            if row["state"] == DeliveryState.PENDING:
                raise Conflict(f"{delivery_id} is still under way", code="delivery_pending")
            tx.audit(who, "webhook.redeliver", webhook_id, delivery_id)
            return outbox.queue(tx, webhook_id, row["message_seq"])

        return await self._delivery(await self._writer.write(again))

    async def deliveries(
        self, webhook_id: str, *, limit: int = 50, after: str | None = None
    ) -> Page[DeliveryView]:
        """Return one page of a webhook's deliveries, newest first."""
        size = cursors.page_size(limit)
        below = cursors.decode("deliveries", after)
        conditions = (
            col(WebhookDeliveryRow.webhook_id) == webhook_id,
            col(WebhookDeliveryRow.seq) < below,
        )
        rows = await self._joined(size + 1, *conditions)
        return cursors.page(
            "deliveries", rows, size, lambda r: r[0].seq, lambda r: delivery_view(*r)
        )

    async def due(self, now: datetime, busy: Collection[str], per_webhook: int) -> Sequence[Due]:
        """Return what is to be tried now, fairly: a few of each webhook.

        Args:
            now: the wall clock's time.
            busy: deliveries under way, which are left out.
            per_webhook: how many of one webhook may be under way together.
        """
        found: list[Due] = []
        async with self._reader.session() as session:
            connection = await session.connection()
            active = await whole(
                connection.execute(text("SELECT id FROM webhooks WHERE state = 'active'"))
            )
            for (webhook_id,) in active.all():
                values = {"webhook": webhook_id, "now": micros(now), "limit": 2 * per_webhook}
                rows = await whole(connection.execute(text(DUE_SQL), values))
                mine = [_due(row, now) for row in rows.mappings().all()]
                room = per_webhook - sum(one.id in busy for one in mine)
                found += [one for one in mine if one.id not in busy][: max(room, 0)]
        return found

    async def next_due(self) -> datetime | None:
        """Return when the next delivery is due; None where nothing is."""
        async with self._reader.session() as session:
            connection = await session.connection()
            at = (await whole(connection.execute(text(NEXT_SQL)))).scalar()
        return moment(at) if at is not None else None

    async def record(self, due: Due, after: After) -> None:
        """Store what became of one try, and what follows for its webhook."""
        await self._writer.write(lambda tx: _record(tx, due, after))

    async def forget(self, before: datetime, *, limit: int = 1000) -> int:
        """Delete deliveries that ended before a moment, and messages nobody waits for.

        Returns:
            How many deliveries went; with ``limit`` of them there may be more.
        """

        def forget(tx: Transaction) -> int:
            values = {"before": micros(before), "limit": limit}
            gone = tx.execute(FORGET_SQL, values).rowcount
            tx.execute(FORGET_MESSAGES_SQL, values)
            return gone

        return await self._writer.write(forget)

    async def _delivery(self, delivery_id: str) -> DeliveryView:
        rows = await self._joined(1, col(WebhookDeliveryRow.id) == delivery_id)
        return delivery_view(*rows[0])

    async def _joined(
        self, limit: int, *conditions: Any
    ) -> Sequence[tuple[WebhookDeliveryRow, WebhookMessageRow]]:
        statement = (
            select(WebhookDeliveryRow, WebhookMessageRow)
            .join(
                WebhookMessageRow,
                col(WebhookMessageRow.seq) == col(WebhookDeliveryRow.message_seq),
            )
            .where(*conditions)
            .order_by(col(WebhookDeliveryRow.seq).desc())
            .limit(limit)
        )
        async with self._reader.session() as session:
            return [(row[0], row[1]) for row in (await session.exec(statement)).all()]

    async def _existing(self, webhook_id: str) -> WebhookView:
        view = await self.get(webhook_id)
        if view is None:
            raise _absent(webhook_id)
        return view


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


def _values(new: NewWebhook, webhook_id: str, owner: str, secret: str, now: int) -> dict[str, Any]:
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


def _change(tx: Transaction, webhook_id: str, change: WebhookChange, who: str) -> None:
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
        raise _absent(webhook_id)
    if change.active is False:
        tx.execute(DROP_PENDING_SQL, {"id": webhook_id, "now": tx.now})
    tx.audit(who, "webhook.change", webhook_id, ", ".join(sorted(values)))


def _require_active(tx: Transaction, webhook_id: str) -> None:
    row = tx.one("SELECT state FROM webhooks WHERE id = ?", (webhook_id,))
    if row is None:
        raise _absent(webhook_id)
    if row["state"] != WebhookState.ACTIVE:
        raise Conflict(
            f"{webhook_id} is {row['state']}",
            code="webhook_not_active",
            hint='set it to active first: PATCH it with {"active": true}',
        )


def _record(tx: Transaction, due: Due, after: After) -> None:
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


def _due(row: Record, now: datetime) -> Due:
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


def _absent(webhook_id: str) -> NotFound:
    return NotFound(
        f"no webhook {webhook_id!r}",
        code="webhook_not_found",
        hint="list yours with GET /v1/webhooks",
    )
