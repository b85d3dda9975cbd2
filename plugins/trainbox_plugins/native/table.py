"""How an area of ``/v1`` lists its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from trainbox_sdk.engine import Principal
from trainbox_sdk.operations import Content, Header, Operation, Reply

T = TypeVar("T")
KnownHandler = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]
SMALL = -1
"""The surface's ordinary limit of a JSON body."""
ANY_TOKEN = "any"  # noqa: S105 - a scope's name
"""Scope of a route that takes every good token."""


@dataclass(frozen=True)
class Endpoint:
    """One route of an area; the surface asks for the token before ``handler`` is called.

    Attributes:
        max_body_bytes: largest request body; None for a handler that counts a stream itself.
    """

    method: str
    path: str
    handler: KnownHandler
    operation: Operation
    max_body_bytes: int | None = SMALL


class Area(Protocol):
    """One part of ``/v1``: its handlers and the table of them."""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return every route of this area."""


class PageOut(TypedDict, Generic[T]):
    """One page of a listing; ``next`` is the cursor for ``?after=``, null on the last page."""

    items: list[T]
    next: str | None


_BYTES = (Content(None, "*/*"),)
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "Makes one of many tries: 1 to 200 printable ASCII characters.",
    Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]([ -~]*[!-~])?$")],
)
FILE_REPLIES = {
    200: Reply("The bytes.", _BYTES, {"ETag": "The digest.", "Repr-Digest": "RFC 9530."}),
    206: Reply("The range asked for.", _BYTES, {"Content-Range": "Which bytes."}),
    304: Reply("Unchanged since the ETag the caller has."),
}
"""What a file with ranges (RFC 9110 §14) answers."""


def gives(type_: Any, description: str = "", *, status: int = 200) -> dict[int, Reply]:
    """Return the replies of a route that answers one JSON type."""
    return {status: Reply(description or "As asked.", (Content(type_),))}
