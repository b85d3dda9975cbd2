"""Webhooks, as surfaces see them."""

from trainbox.engine.facade.rooms import Desk


class WebhookDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.webhooks.WebhookCalls`."""
