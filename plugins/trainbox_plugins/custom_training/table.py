"""How an area of the dialect lists its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from trainbox_plugins.custom_training.credentials import Caller
from trainbox_sdk.operations import Content, Operation, Reply

MODELS = "/api/v1/models"
MODEL = MODELS + "/{model_id}"
DATASETS = "/api/v1/datasets"
TAG = "custom training"
SMALL = 1024 * 1024
"""Largest JSON body in bytes."""

KnownHandler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Endpoint:
    """One route; the surface asks for token and permission before the handler is called.

    Attributes:
        operation: its ``scope`` is the permission.
        max_body_bytes: largest request body; None for a handler that counts a stream itself.
    """

    method: str
    path: str
    handler: KnownHandler
    operation: Operation
    max_body_bytes: int | None = SMALL


class Area(Protocol):
    """One part of the dialect: its handlers and the table of them."""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return every route of this area."""


def gives(type_: Any, description: str = "As asked.", *, status: int = 200) -> dict[int, Reply]:
    """Return the replies of a route that answers one JSON type."""
    return {status: Reply(description, (Content(type_),))}


def operation(
    id_: str,
    summary: str,
    replies: dict[int, Reply],
    permission: str,
    *,
    query: Any = None,
    body: Any = None,
    problems: tuple[int, ...] = (),
    description: str = "",
) -> Operation:
    """Return the operation of a route: 404 is among the answers of all that name a model."""
    return Operation(
        id_,
        TAG,
        summary,
        replies,
        scope=permission,
        query=query,
        body=(Content(body),) if body is not None else (),
        problems=(404, *problems),
        description=description,
    )
