"""Between the words of ``/v1/webhooks`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.webhooks import wire
from trainbox_sdk.webhooks import (
    DeliveryView,
    IssuedWebhook,
    NewWebhook,
    WebhookChange,
    WebhookView,
)


def new_webhook(body: wire.WebhookIn) -> NewWebhook:
    """Return the webhook that is asked for."""
    events = tuple(dict.fromkeys(body.events))
    return NewWebhook(body.url, events, body.description, body.everyone)


def change(body: wire.WebhookChangeIn) -> WebhookChange:
    """Return what is to change."""
    events = None if body.events is None else tuple(dict.fromkeys(body.events))
    return WebhookChange(body.url, events, body.description, body.active)


def webhook(view: WebhookView) -> wire.WebhookOut:
    """Return a webhook as ``/v1`` says it."""
    return {
        "id": view.id,
        "url": view.url,
        "events": list(view.events),
        "description": view.description,
        "everyone": view.everyone,
        "state": view.state.value,
        "reason": view.reason,
        "owner": view.owner,
        "created_at": view.created_at,
        "updated_at": view.updated_at,
        "failing_since": view.failing_since,
        "old_secret_until": view.old_secret_until,
    }


def issued(view: IssuedWebhook) -> wire.IssuedOut:
    """Return a webhook with its secret."""
    return {**webhook(view.webhook), "secret": view.secret}


def delivery(view: DeliveryView) -> wire.DeliveryOut:
    """Return a delivery as ``/v1`` says it."""
    return {
        "id": view.id,
        "webhook_id": view.webhook_id,
        "message_id": view.message_id,
        "event": view.event,
        "state": view.state.value,
        "attempts": view.attempts,
        "tries": [
            {"at": t.at, "status": t.status, "error": t.error, "duration_s": t.duration_s}
            for t in view.tries
        ],
        "payload": view.payload,
        "created_at": view.created_at,
        "next_attempt_at": view.next_attempt_at,
        "finished_at": view.finished_at,
    }
