"""``/openapi.json`` and ``/docs``: open to all who reach the port, since they tell no secret."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import hdrs, web

from trainbox.http.openapi.page import STYLE, page
from trainbox_sdk.operations import Content, Operation, Reply
from trainbox_sdk.surfaces import Route

HTML = "text/html"
STYLE_PATH = "/docs/style.css"
POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The page has no script, no form and no picture, so it may have none."""

_UNCHANGED = Reply("Unchanged since the ETag the caller has.")


class Documents:
    """The document and its page, made once, at the first question.

    Args:
        build: returns the document; runs in a thread, since it takes some 100 ms.
    """

    def __init__(self, build: Callable[[], Mapping[str, Any]]) -> None:
        self._build = build
        self._made: asyncio.Future[tuple[bytes, bytes]] | None = None

    def routes(self) -> list[Route]:
        """Return the routes; none asks for a token."""
        return [
            Route(
                "GET",
                "/openapi.json",
                self.document,
                operation=_operation(
                    "getOpenapi", "This document", Content(dict[str, Any], "application/json")
                ),
            ),
            Route(
                "GET",
                "/docs",
                self.page,
                operation=_operation("getDocs", "This document as a page", Content(None, HTML)),
            ),
            Route(
                "GET",
                STYLE_PATH,
                self.style,
                operation=_operation("getDocsStyle", "The page's style", Content(None, "text/css")),
            ),
        ]

    async def document(self, request: web.Request) -> web.StreamResponse:
        """``GET /openapi.json``."""
        return _cached(request, (await self._bodies())[0], "application/json")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """``GET /docs``."""
        response = _cached(request, (await self._bodies())[1], HTML)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    async def style(self, request: web.Request) -> web.StreamResponse:
        """``GET /docs/style.css``."""
        return _cached(request, STYLE.read_bytes(), "text/css")

    async def _bodies(self) -> tuple[bytes, bytes]:
        if self._made is None:
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        return await asyncio.shield(self._made)

    def _make(self) -> tuple[bytes, bytes]:
        document = self._build()
        return json.dumps(document).encode(), page(document).encode()


def _operation(id_: str, summary: str, content: Content) -> Operation:
    replies = {200: Reply("As asked.", (content,), {"ETag": "Its digest."}), 304: _UNCHANGED}
    return Operation(id_, "daemon", summary, replies)


def _cached(request: web.Request, body: bytes, media_type: str) -> web.Response:
    """Return the body, or 304 where the caller has it (RFC 9110 §13.1.2)."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    known = request.if_none_match or ()
    headers = {hdrs.ETAG: f'"{etag}"', hdrs.CACHE_CONTROL: "no-cache"}
    if any(one.value in (etag, "*") for one in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=media_type, charset="utf-8", headers=headers)
