"""Webhooks: who is told what became of jobs."""

from __future__ import annotations

from typing import Protocol


class WebhookCalls(Protocol):
    """What can be done with webhooks."""
