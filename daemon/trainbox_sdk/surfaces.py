"""What a surface is: one HTTP dialect over the engine; the one SDK room that knows aiohttp."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import hdrs, web

from trainbox_sdk.engine import Engine
from trainbox_sdk.operations import Content, Operation, SecurityScheme

REQUEST_ID = web.RequestKey("request_id", str)
"""Key under which every request carries its id, for error bodies: ``request[REQUEST_ID]``."""

_TOLD_ON = (hdrs.ALLOW, hdrs.RETRY_AFTER, hdrs.CONTENT_RANGE)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """One method and path; the path is absolute and must lie under the surface's prefixes.

    Attributes:
        max_body_bytes: largest request body the middleware lets through; None for a handler that
            counts a streamed body itself.
        operation: what it takes and gives, for the OpenAPI document; None leaves it out.
    """

    method: str
    path: str
    handler: Handler
    max_body_bytes: int | None = 1024 * 1024
    operation: Operation | None = None


class Surface(ABC):
    """One HTTP dialect: its URLs, its wire models, its error bodies, its credentials.

    A surface never sees a container, a hyper-parameter or a table; it speaks to the engine.

    Attributes:
        security: how its callers show who they are, for routes whose operation names a scope;
            None for a surface that asks nobody.
        problem: its error body, for the OpenAPI document.
    """

    name: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]
    requires_tasks: ClassVar[tuple[str, ...]] = ()
    security: ClassVar[SecurityScheme | None] = None
    problem: ClassVar[Content] = Content()

    @abstractmethod
    def routes(self, engine: Engine) -> Sequence[Route]:
        """Return the routes; called once at start."""

    def problems(self, operation: Operation) -> frozenset[int]:
        """Return the error statuses of an operation, beside those of the HTTP layer's own guards.

        Override it to add what every route of this surface may answer.
        """
        return frozenset({*operation.problems, *((401, 403) if operation.scope else ())})

    @abstractmethod
    def error_response(self, error: Exception, request: web.Request) -> web.Response:
        """Turn any exception under this surface's prefixes into the dialect's own body."""


def headers_told_on(error: web.HTTPException) -> dict[str, str]:
    """Return the headers of the HTTP layer's own refusal that belong on any surface's answer."""
    return {str(name): error.headers[name] for name in _TOLD_ON if name in error.headers}


def sentence_of(error: web.HTTPException, request: web.Request) -> str:
    """Return what is wrong, for a surface whose error body is one sentence."""
    if error.status == web.HTTPNotFound.status_code:
        return f"{request.path} is not a path of this daemon"
    if error.status == web.HTTPMethodNotAllowed.status_code:
        return f"{request.path} takes {error.headers.get(hdrs.ALLOW, 'another method')}"
    return error.text or error.reason
