"""The core's own error body, for paths that no surface owns: RFC 9457 problem+json."""

from __future__ import annotations

import http
import json

from aiohttp import web

from trainbox_sdk.surfaces import REQUEST_ID

MEDIA_TYPE = "application/problem+json"


def problem(error: Exception, request: web.Request) -> web.Response:
    """Return the error as a problem document; an unexpected one says nothing of its inside."""
    if isinstance(error, web.HTTPException):
        status, detail, headers = error.status, error.text or "", keep_headers(error)
    else:
        status, detail, headers = 500, "The daemon failed; its log has this request id.", {}
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": request.get(REQUEST_ID, ""),
    }
    body = json.dumps(document).encode()
    return web.Response(status=status, body=body, content_type=MEDIA_TYPE, headers=headers)


def keep_headers(error: web.HTTPException) -> dict[str, str]:
    """Return the headers of an HTTP error that belong to its meaning, not to its old body."""
    return {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
