"""The words of ``/v1/webhooks``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import Body

Url = Annotated[str, Field(min_length=1, max_length=2048)]
Description = Annotated[str, Field(max_length=200)]
Events = Annotated[list[str], Field(max_length=32)]
"""Names such as ``job.failed``; none for all. The engine knows them and says which is wrong."""


class WebhookIn(Body):
    """``POST /v1/webhooks``."""

    url: Url
    events: Events = Field(default_factory=list)
    description: Description = ""
    everyone: bool = False


class WebhookChangeIn(Body):
    """``PATCH /v1/webhooks/{id}``; what is left out stays as it is."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    active: bool | None = None


class WebhookOut(TypedDict):
    """A webhook."""

    id: str
    url: str
    events: list[str]
    description: str
    everyone: bool
    state: str
    reason: str
    owner: str
    created_at: datetime
    updated_at: datetime
    failing_since: datetime | None
    old_secret_until: datetime | None


class IssuedOut(WebhookOut):
    """A webhook with its secret, which is never shown again."""

    secret: str


class TryOut(TypedDict):
    """One attempt to deliver."""

    at: datetime
    status: int | None
    error: str
    duration_s: float


class DeliveryOut(TypedDict):
    """One message on its way; ``message_id`` is the ``webhook-id`` header of every attempt."""

    id: str
    webhook_id: str
    message_id: str
    event: str
    state: str
    attempts: int
    tries: list[TryOut]
    payload: Mapping[str, Any]
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
