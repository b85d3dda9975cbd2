"""Webhooks and their outbox: who is told, what is due, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlmodel import col, select

from trainbox.cancellation import whole
from trainbox.ids import new_id
from trainbox.store import cursors, outbox, webhook_rows
from trainbox.store.reader import Reader
from trainbox.store.tables import WebhookDeliveryRow, WebhookMessageRow, WebhookRow
from trainbox.store.times import micros, moment
from trainbox.store.transaction import Transaction
from trainbox.store.webhook_rows import After, Due
from trainbox.store.writer import Writer
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.webhooks import (
    TEST_EVENT,
    DeliveryState,
    DeliveryView,
    NewWebhook,
    WebhookChange,
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
FORGET_SQL = """
DELETE FROM webhook_deliveries WHERE seq IN (
    SELECT seq FROM webhook_deliveries WHERE finished_at < :before LIMIT :limit)
"""
FORGET_MESSAGES_SQL = """
DELETE FROM webhook_messages WHERE seq IN (
    SELECT seq FROM webhook_messages AS m WHERE created_at < :before
       AND NOT EXISTS (SELECT 1 FROM webhook_deliveries WHERE message_seq = m.seq) LIMIT :limit)
"""


class WebhookStore:
    """Webhooks. Secrets come out of here only to be shown once or to sign."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(
        self, new: NewWebhook, *, owner: str, secret: str, most: int, who: str = ""
    ) -> WebhookView:
        """Store a webhook; ``who`` acts, the owner if nothing is said.

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
            tx.insert(WebhookRow, webhook_rows.new_values(new, webhook_id, owner, secret, tx.now))
            tx.audit(who or owner, "webhook.create", webhook_id, new.url)

        await self._writer.write(insert)
        return await self._existing(webhook_id)

    async def get(self, webhook_id: str) -> WebhookView | None:
        """Return one webhook."""
        async with self._reader.session() as session:
            row = (
                await session.exec(select(WebhookRow).where(col(WebhookRow.id) == webhook_id))
            ).first()
        return webhook_rows.webhook_view(row) if row else None

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
        return cursors.page("webhooks", rows, size, lambda row: row.seq, webhook_rows.webhook_view)

    async def change(self, webhook_id: str, change: WebhookChange, *, who: str) -> WebhookView:
        """Change a webhook; what waits for one that is paused is dropped.

        Raises:
            NotFound: no such webhook.
        """
        await self._writer.write(lambda tx: webhook_rows.change(tx, webhook_id, change, who))
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
                raise webhook_rows.absent(webhook_id)
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
                raise webhook_rows.absent(webhook_id)
            tx.audit(who, "webhook.delete", webhook_id)

        await self._writer.write(delete)

    # -- deliveries ---------------------------------------------------------------------------

    async def test(self, webhook_id: str, *, who: str) -> DeliveryView:
        """Queue a test message.

        Raises:
            Conflict: the webhook is not active.
        """

        def test(tx: Transaction) -> str:
            webhook_rows.require_active(tx, webhook_id)
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
            webhook_rows.require_active(tx, webhook_id)
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
            "deliveries", rows, size, lambda r: r[0].seq, lambda r: webhook_rows.delivery_view(*r)
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
                mine = [webhook_rows.due_view(row, now) for row in rows.mappings().all()]
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
        await self._writer.write(lambda tx: webhook_rows.record(tx, due, after))

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
        return webhook_rows.delivery_view(*rows[0])

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
            raise webhook_rows.absent(webhook_id)
        return view
