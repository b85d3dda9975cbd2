"""Every answered request is counted and leaves one line in the log, whoever answered it."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from trainbox import logs
from trainbox.origin import ORIGIN
from trainbox_sdk.surfaces import REQUEST_ID

log = logging.getLogger("trainbox.access")

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: their lines have the level DEBUG."""


class Observer(Protocol):
    """Who counts requests and shows the numbers; in a daemon ``trainbox.metrics``."""

    def request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count one; ``seconds`` is None for a stream."""

    def stream_dropped(self, reason: str) -> None:
        """Count a stream that the daemon cut."""

    async def render(self) -> bytes:
        """Return every number in the text format of Prometheus."""


def observing(observer: Observer | None, *, access_log: bool) -> Middleware:
    """Return the outermost middleware.

    Time runs until the answer is ready to be sent; for a stream, until its end.
    """

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        logs.unbind()
        began = time.monotonic()
        response: web.StreamResponse | None = None
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            response = answer
            raise
        finally:
            _note(request, response, time.monotonic() - began, observer, access_log=access_log)
        return response

    return observe


def _note(
    request: web.Request,
    response: web.StreamResponse | None,
    seconds: float,
    observer: Observer | None,
    *,
    access_log: bool,
) -> None:
    method = request.method if request.method in KNOWN_METHODS else "other"
    route = _template(request)
    # None: cut by the daemon's stop, or broken off after its header was sent.
    status = response.status if response is not None else 499
    if observer is not None:
        whole = isinstance(response, (web.Response, web.FileResponse))
        observer.request(method, route, status, seconds if whole else None)
    if access_log:
        log.log(
            logging.DEBUG if route in QUIET else logging.INFO,
            "request",
            extra={
                "request_id": request.get(REQUEST_ID, ""),
                "method": method,
                "route": route,
                "path": request.path[:300],
                "status": status,
                "ms": round(seconds * 1000, 2),
                "bytes": _bytes(response),
                "token": ORIGIN.get().token_id,
                "peer": ORIGIN.get().peer or request.remote or "unix",
            },
        )


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


def _bytes(response: web.StreamResponse | None) -> int | None:
    if isinstance(response, web.Response):
        return response.content_length
    return None if response is None else response.body_length or None
