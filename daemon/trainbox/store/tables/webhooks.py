"""Rows of webhooks: who wants to hear, what there is to tell, and what became of telling it."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, text
from sqlmodel import Field

from trainbox.store.tables.base import (
    Row,
    integer_column,
    seq_column,
    table_options,
    text_column,
)


class WebhookRow(Row, table=True):
    """A receiver. Its secrets are here as they are: they sign, so a hash of them would not do.

    ``events`` is a JSON list, empty for all; ``everyone`` hears of everyone's things;
    ``failing_since`` is the first failure after the last success.
    """

    __tablename__ = "webhooks"
    __table_args__ = table_options(
        Index("webhooks_by_owner", "owner", "seq"),
        Index("webhooks_by_state", "state", "seq"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    owner: str = text_column()
    everyone: int = integer_column()
    url: str = text_column()
    events: str = text_column()
    description: str = text_column()
    state: str = text_column()
    reason: str = text_column()
    secret: str = text_column()
    old_secret: str | None = text_column(nullable=True)
    old_secret_until: int | None = integer_column(nullable=True)
    failing_since: int | None = integer_column(nullable=True)
    created_at: int = integer_column()
    updated_at: int = integer_column()


class WebhookMessageRow(Row, table=True):
    """One fact to tell, written in the transaction of the fact; its body never changes."""

    __tablename__ = "webhook_messages"
    __table_args__ = table_options()

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    kind: str = text_column()
    body: str = text_column()
    created_at: int = integer_column()


class WebhookDeliveryRow(Row, table=True):
    """One message on its way to one webhook; ``tries`` is a JSON list of what came back."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = table_options(
        Index("webhook_deliveries_by_webhook", "webhook_id", "seq"),
        Index("webhook_deliveries_by_message", "message_seq"),
        Index(
            "webhook_deliveries_due",
            "webhook_id",
            "next_attempt_at",
            sqlite_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index(
            "webhook_deliveries_ended",
            "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
        ),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    webhook_id: str = text_column(ForeignKey("webhooks.id"))
    message_seq: int = Field(
        sa_column=Column(Integer, ForeignKey("webhook_messages.seq"), nullable=False)
    )
    state: str = text_column()
    attempts: int = integer_column()
    tries: str = text_column()
    next_attempt_at: int | None = integer_column(nullable=True)
    created_at: int = integer_column()
    finished_at: int | None = integer_column(nullable=True)
