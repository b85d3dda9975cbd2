"""The fake engine's part of :mod:`trainbox_sdk.calls`: webhooks, told to nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import Conflict, FieldError, Forbidden, NotFound, ValidationFailed
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs
from trainbox_sdk.webhooks import (
    EVENTS,
    TEST_EVENT,
    DeliveryState,
    DeliveryView,
    IssuedWebhook,
    NewWebhook,
    WebhookChange,
    WebhookState,
    WebhookView,
)

SECRET = "whsec_ZmFrZSBzZWNyZXQgb2YgdGhlIGZha2UgZW5naW5l"  # noqa: S105 - it signs nothing


class FakeWebhookCalls(FakeJobs):
    """In memory, by the same contract; every message is delivered as soon as it is queued."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._webhooks: dict[str, WebhookView] = {}
        self._sent: dict[str, DeliveryView] = {}

    async def create_webhook(self, who: Principal, new: NewWebhook) -> IssuedWebhook:
        """Remember a receiver."""
        self._enter("create_webhook")
        _check(new.url, new.events)
        if new.everyone and "admin" not in who.scopes:
            raise Forbidden("everyone's things are for admins")
        at = fake_data.now()
        view = WebhookView(
            id=self._id("whk"),
            url=new.url,
            events=new.events,
            description=new.description,
            everyone=new.everyone,
            state=WebhookState.ACTIVE,
            reason="",
            owner=who.id,
            created_at=at,
            updated_at=at,
            failing_since=None,
            old_secret_until=None,
        )
        self._webhooks[view.id] = view
        return IssuedWebhook(view, SECRET)

    async def webhook(self, who: Principal, webhook_id: str) -> WebhookView:
        """Return one webhook."""
        self._enter("webhook")
        view = self._webhooks.get(webhook_id)
        if view is None or view.owner != who.id:
            raise NotFound(f"no webhook {webhook_id!r}", code="webhook_not_found")
        return view

    async def webhooks(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[WebhookView]:
        """List webhooks."""
        self._enter("webhooks")
        mine = [view for view in self._webhooks.values() if view.owner == who.id]
        return fake_data.page(mine, limit, after)

    async def change_webhook(
        self, who: Principal, webhook_id: str, change: WebhookChange
    ) -> WebhookView:
        """Change a webhook."""
        self._enter("change_webhook")
        view = await self.webhook(who, webhook_id)
        _check(change.url or view.url, change.events or ())
        given = {
            name: value
            for name, value in (
                ("url", change.url),
                ("events", change.events),
                ("description", change.description),
            )
            if value is not None
        }
        if change.active is not None:
            given["state"] = WebhookState.ACTIVE if change.active else WebhookState.PAUSED
        self._webhooks[webhook_id] = replace(view, **given, updated_at=fake_data.now())  # type: ignore[arg-type]
        return self._webhooks[webhook_id]

    async def rotate_webhook(self, who: Principal, webhook_id: str) -> IssuedWebhook:
        """Pretend a new secret."""
        self._enter("rotate_webhook")
        view = await self.webhook(who, webhook_id)
        until = fake_data.now() + timedelta(hours=24)
        self._webhooks[webhook_id] = replace(view, old_secret_until=until)
        return IssuedWebhook(self._webhooks[webhook_id], SECRET)

    async def delete_webhook(self, who: Principal, webhook_id: str) -> None:
        """Forget a webhook."""
        self._enter("delete_webhook")
        await self.webhook(who, webhook_id)
        del self._webhooks[webhook_id]

    async def test_webhook(self, who: Principal, webhook_id: str) -> DeliveryView:
        """Deliver a test message to nobody."""
        self._enter("test_webhook")
        await self._active(who, webhook_id)
        return self._deliver(webhook_id, self._id("msg"), TEST_EVENT)

    async def deliveries(
        self, who: Principal, webhook_id: str, *, limit: int = 50, after: str | None = None
    ) -> Page[DeliveryView]:
        """List what was delivered."""
        self._enter("deliveries")
        await self.webhook(who, webhook_id)
        mine = [sent for sent in self._sent.values() if sent.webhook_id == webhook_id]
        return fake_data.page(mine, limit, after)

    async def redeliver(self, who: Principal, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Deliver once more to nobody."""
        self._enter("redeliver")
        await self._active(who, webhook_id)
        sent = self._sent.get(delivery_id)
        if sent is None or sent.webhook_id != webhook_id:
            raise NotFound(f"no delivery {delivery_id!r}", code="delivery_not_found")
        return self._deliver(webhook_id, sent.message_id, sent.event)

    async def _active(self, who: Principal, webhook_id: str) -> None:
        if (await self.webhook(who, webhook_id)).state is not WebhookState.ACTIVE:
            raise Conflict(f"{webhook_id} is not active", code="webhook_not_active")

    def _deliver(self, webhook_id: str, message_id: str, event: str) -> DeliveryView:
        at = fake_data.now()
        sent = DeliveryView(
            id=self._id("dlv"),
            webhook_id=webhook_id,
            message_id=message_id,
            event=event,
            state=DeliveryState.DELIVERED,
            attempts=1,
            tries=(),
            payload={"type": event, "timestamp": at.isoformat(), "data": {}},
            created_at=at,
            next_attempt_at=None,
            finished_at=at,
        )
        self._sent[sent.id] = sent
        return sent


def _check(url: str, events: tuple[str, ...]) -> None:
    errors = [
        FieldError(("events", at), f"no event {event!r}")
        for at, event in enumerate(events)
        if event not in EVENTS
    ]
    if not url.startswith(("http://", "https://")):
        errors.append(FieldError(("url",), "must be an http:// or https:// URL"))
    if errors:
        raise ValidationFailed("the webhook cannot be accepted", errors=errors)
