"""Tells receivers what happened: signs, sends, tries again, gives up."""

from trainbox.webhooks.deliverer import Deliverer, DelivererConfig
from trainbox.webhooks.sender import Sender

__all__ = ["Deliverer", "DelivererConfig", "Sender"]
