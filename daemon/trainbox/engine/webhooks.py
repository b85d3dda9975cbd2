"""Webhooks as their owners see them: checked, stored, shown without their secrets."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from trainbox.engine.access import ADMIN, Access
from trainbox.engine.complaints import did_you_mean, refuse
from trainbox.engine.receivers import Receivers
from trainbox.store import Store
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import FieldError, Forbidden, NotFound
from trainbox_sdk.webhooks import (
    EVENTS,
    DeliveryView,
    IssuedWebhook,
    NewWebhook,
    WebhookChange,
    WebhookView,
)

MOST = 50
"""Webhooks of one owner."""
MAX_DESCRIPTION = 200
SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""
OVERLAP = timedelta(hours=24)
"""How long a secret that was rotated out still signs."""


def new_secret() -> str:
    """Return a signing secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class Webhooks:
    """What can be done with webhooks.

    Args:
        store: where they are.
        access: who may.
        receivers: where they may lead.
        wake: told that there is something to deliver.
    """

    def __init__(
        self, store: Store, access: Access, receivers: Receivers, wake: Callable[[], None]
    ) -> None:
        self._store = store.webhooks
        self._access = access
        self._receivers = receivers
        self._wake = wake

    async def create(self, who: Principal, new: NewWebhook) -> IssuedWebhook:
        """Store a receiver with a fresh secret.

        Raises:
            ValidationFailed: URL, event or description.
            Forbidden: ``everyone`` without the scope ``admin``.
            Conflict: too many.
        """
        self._access.require(who, "submit")
        refuse(self._problems(new.url, new.events, new.description))
        if new.everyone and ADMIN not in who.scopes:
            raise Forbidden(
                "a webhook that hears of everyone's things needs the scope 'admin'",
                hint="leave 'everyone' out to hear of your own",
            )
        secret = new_secret()
        view = await self._store.insert(new, owner=who.id, secret=secret, most=MOST, who=who.actor)
        return IssuedWebhook(view, secret)

    async def get(self, who: Principal, webhook_id: str, *, act: bool = False) -> WebhookView:
        """Return one webhook; ``act`` where something is to be done with it.

        Raises:
            NotFound: absent, or not theirs.
        """
        self._access.require(who, "submit" if act else "read")
        found = await self._store.get(webhook_id)
        action = "webhook" if act else "read"
        if found is None or not self._access.may(who, action, found.owner):
            raise NotFound(
                f"no webhook {webhook_id!r}",
                code="webhook_not_found",
                hint="list yours with GET /v1/webhooks",
            )
        return found

    async def list(self, who: Principal, *, limit: int, after: str | None) -> Page[WebhookView]:
        """Return one page of them, newest first."""
        self._access.require(who, "read")
        return await self._store.list(self._access.owner_filter(who), limit=limit, after=after)

    async def change(self, who: Principal, webhook_id: str, change: WebhookChange) -> WebhookView:
        """Change one.

        Raises:
            NotFound: absent, or not theirs.
            ValidationFailed: URL, event or description.
        """
        await self.get(who, webhook_id, act=True)
        refuse(self._problems(change.url, change.events or (), change.description or ""))
        view = await self._store.change(webhook_id, change, who=who.actor)
        self._wake()
        return view

    async def rotate(self, who: Principal, webhook_id: str) -> IssuedWebhook:
        """Give one a new secret; the old one signs beside it for :data:`OVERLAP`.

        Raises:
            NotFound: absent, or not theirs.
        """
        await self.get(who, webhook_id, act=True)
        secret = new_secret()
        view = await self._store.rotate(webhook_id, secret, overlap=OVERLAP, who=who.actor)
        return IssuedWebhook(view, secret)

    async def delete(self, who: Principal, webhook_id: str) -> None:
        """Delete one.

        Raises:
            NotFound: absent, or not theirs.
        """
        await self.get(who, webhook_id, act=True)
        await self._store.delete(webhook_id, who=who.actor)

    async def test(self, who: Principal, webhook_id: str) -> DeliveryView:
        """Queue a test message.

        Raises:
            NotFound: absent, or not theirs.
            Conflict: not active.
        """
        await self.get(who, webhook_id, act=True)
        delivery = await self._store.test(webhook_id, who=who.actor)
        self._wake()
        return delivery

    async def deliveries(
        self, who: Principal, webhook_id: str, *, limit: int, after: str | None
    ) -> Page[DeliveryView]:
        """Return one page of a webhook's log.

        Raises:
            NotFound: absent, or not theirs.
        """
        await self.get(who, webhook_id)
        return await self._store.deliveries(webhook_id, limit=limit, after=after)

    async def redeliver(self, who: Principal, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Queue a message once more.

        Raises:
            NotFound: absent, or not theirs.
            Conflict: not active, or still under way.
        """
        await self.get(who, webhook_id, act=True)
        delivery = await self._store.redeliver(webhook_id, delivery_id, who=who.actor)
        self._wake()
        return delivery

    def _problems(
        self, url: str | None, events: Sequence[str], description: str
    ) -> Iterator[FieldError]:
        problem = self._receivers.url_problem(url) if url is not None else None
        if problem is not None:
            yield problem
        for at, event in enumerate(events):
            if event not in EVENTS:
                yield FieldError(("events", at), f"no event {event!r}", did_you_mean(event, EVENTS))
        if len(description) > MAX_DESCRIPTION or not description.isprintable():
            hint = f"give at most {MAX_DESCRIPTION} printable characters"
            yield FieldError(("description",), "too long, or not printable", hint)
