"""What arrives may be no HTTP at all: then the answer is in our words too, and it is the last."""

from __future__ import annotations

import http
import logging
import sys
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from trainbox.http.problems import respond
from trainbox.ids import random_hex
from trainbox_sdk.surfaces import REQUEST_ID

log = logging.getLogger("trainbox.http")


class Runner(web.AppRunner):
    """Serves an application; a request that cannot be parsed gets a problem document."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Protocol(RequestHandler):
    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what is our fault; a body that belies its header is its sender's."""
        if isinstance(sys.exc_info()[1], RequestPayloadError):
            log.info("a malformed body")
        else:
            super().log_exception(*args, **kwargs)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what no handler could be found for; everything else as aiohttp does."""
        if status != http.HTTPStatus.BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        request[REQUEST_ID] = random_hex(8)
        log.info("not HTTP", extra={"request_id": request[REQUEST_ID], "peer": request.remote})
        response = respond(status, _reason(message), request)
        response.headers["X-Request-ID"] = request[REQUEST_ID]
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        response.force_close()
        return response


def _reason(message: str | None) -> str:
    """Return the parser's reason without the bytes it quotes: they may hold a token."""
    first = (message or "").strip().partition("\n")[0].partition(": b")[0].rstrip(":. ")
    return f"The request is malformed: {first}." if first else "The request is malformed."
