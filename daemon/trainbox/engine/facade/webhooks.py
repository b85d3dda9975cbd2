"""Webhooks, as surfaces see them."""

from __future__ import annotations

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.webhooks import (
    DeliveryView,
    IssuedWebhook,
    NewWebhook,
    WebhookChange,
    WebhookView,
)


class WebhookDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.webhooks.WebhookCalls`."""

    async def create_webhook(self, who: Principal, new: NewWebhook) -> IssuedWebhook:
        """Store a receiver."""
        return await self._r.webhooks.create(who, new)

    async def webhook(self, who: Principal, webhook_id: str) -> WebhookView:
        """Return one webhook."""
        return await self._r.webhooks.get(who, webhook_id)

    async def webhooks(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[WebhookView]:
        """List webhooks."""
        return await self._r.webhooks.list(who, limit=limit, after=after)

    async def change_webhook(
        self, who: Principal, webhook_id: str, change: WebhookChange
    ) -> WebhookView:
        """Change a webhook."""
        return await self._r.webhooks.change(who, webhook_id, change)

    async def rotate_webhook(self, who: Principal, webhook_id: str) -> IssuedWebhook:
        """Give a webhook a new secret."""
        return await self._r.webhooks.rotate(who, webhook_id)

    async def delete_webhook(self, who: Principal, webhook_id: str) -> None:
        """Delete a webhook."""
        await self._r.webhooks.delete(who, webhook_id)

    async def test_webhook(self, who: Principal, webhook_id: str) -> DeliveryView:
        """Queue a test message."""
        return await self._r.webhooks.test(who, webhook_id)

    async def deliveries(
        self, who: Principal, webhook_id: str, *, limit: int = 50, after: str | None = None
    ) -> Page[DeliveryView]:
        """List what was sent or is to be sent."""
        return await self._r.webhooks.deliveries(who, webhook_id, limit=limit, after=after)

    async def redeliver(self, who: Principal, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Queue a message once more."""
        return await self._r.webhooks.redeliver(who, webhook_id, delivery_id)
