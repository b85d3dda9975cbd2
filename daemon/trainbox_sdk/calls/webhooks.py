"""Webhooks: who is told what became of jobs, models and datasets."""

from __future__ import annotations

from typing import Protocol

from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.webhooks import (
    DeliveryView,
    IssuedWebhook,
    NewWebhook,
    WebhookChange,
    WebhookView,
)


class WebhookCalls(Protocol):
    """What can be done with webhooks. Someone else's is not found."""

    async def create_webhook(self, who: Principal, new: NewWebhook) -> IssuedWebhook:
        """Store a receiver; the answer holds its secret, which is never shown again.

        Raises:
            ValidationFailed: a URL that may not be called, or an unknown event.
            Forbidden: ``everyone`` without the scope ``admin``.
            Conflict: the owner has as many webhooks as one may have.
        """

    async def webhook(self, who: Principal, webhook_id: str) -> WebhookView:
        """Return one webhook."""

    async def webhooks(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[WebhookView]:
        """List webhooks, newest first."""

    async def change_webhook(
        self, who: Principal, webhook_id: str, change: WebhookChange
    ) -> WebhookView:
        """Change a webhook; making a disabled one active begins anew.

        Raises:
            ValidationFailed: as for a new one.
        """

    async def rotate_webhook(self, who: Principal, webhook_id: str) -> IssuedWebhook:
        """Give a webhook a new secret; the old one signs beside it for 24 hours."""

    async def delete_webhook(self, who: Principal, webhook_id: str) -> None:
        """Delete a webhook and its delivery log; what was under way to it is dropped."""

    async def test_webhook(self, who: Principal, webhook_id: str) -> DeliveryView:
        """Queue a ``webhook.test`` message, whatever the webhook asked for.

        Raises:
            Conflict: it is not active.
        """

    async def deliveries(
        self, who: Principal, webhook_id: str, *, limit: int = 50, after: str | None = None
    ) -> Page[DeliveryView]:
        """List what was sent or is to be sent, newest first."""

    async def redeliver(self, who: Principal, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Queue a message once more, under the same ``webhook-id``.

        Raises:
            Conflict: the webhook is not active, or the delivery has not ended.
        """
