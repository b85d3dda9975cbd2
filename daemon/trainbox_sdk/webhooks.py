"""Webhooks as everyone outside the store sees them (https://www.standardwebhooks.com)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

EVENTS = (
    "job.queued",
    "job.running",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "job.interrupted",
    "model.created",
    "model.promoted",
    "dataset.created",
    "webhook.disabled",
)
"""What a webhook can ask for. ``webhook.test`` comes to whoever asks for a test."""
TEST_EVENT = "webhook.test"


class WebhookState(StrEnum):
    """Whether a webhook is told."""

    ACTIVE = "active"
    PAUSED = "paused"
    """Its owner does not want to hear now; what happens meanwhile is not kept for it."""
    DISABLED = "disabled"
    """The daemon gave it up; the reason says why, and setting it to active begins anew."""


class DeliveryState(StrEnum):
    """What became of a message to one webhook."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True)
class WebhookView:
    """A receiver; its secret is shown once, when it is made.

    Attributes:
        events: what it asked for; empty for everything.
        everyone: it hears of everyone's things, not of its owner's alone.
        failing_since: the first failure after the last success.
        old_secret_until: until then the secret before the present one signs too.
    """

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    everyone: bool
    state: WebhookState
    reason: str
    owner: str
    created_at: datetime
    updated_at: datetime
    failing_since: datetime | None
    old_secret_until: datetime | None


@dataclass(frozen=True)
class NewWebhook:
    """A receiver to be."""

    url: str
    events: tuple[str, ...] = ()
    description: str = ""
    everyone: bool = False


@dataclass(frozen=True)
class WebhookChange:
    """What is to change; None leaves it as it is."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    description: str | None = None
    active: bool | None = None


@dataclass(frozen=True)
class IssuedWebhook:
    """A webhook with its secret, ``whsec_`` and base64, seen here and never again."""

    webhook: WebhookView
    secret: str


@dataclass(frozen=True)
class Try:
    """One attempt to deliver.

    Attributes:
        status: the answer's HTTP status; None where none came.
        error: why it counts as failed; empty for a success.
        duration_s: seconds until the answer or the failure.
    """

    at: datetime
    status: int | None
    error: str
    duration_s: float


@dataclass(frozen=True)
class DeliveryView:
    """One message on its way to one webhook.

    Attributes:
        message_id: the ``webhook-id`` header; the same in every attempt and every redelivery.
        payload: the body.
        next_attempt_at: None once it has ended.
    """

    id: str
    webhook_id: str
    message_id: str
    event: str
    state: DeliveryState
    attempts: int
    tries: tuple[Try, ...]
    payload: Mapping[str, Any]
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
