"""The core's own error body, for paths that no surface owns: RFC 9457 problem+json."""

from __future__ import annotations

import json

from aiohttp import hdrs, web

from trainbox_sdk.problems import MEDIA_TYPE, http_problem
from trainbox_sdk.surfaces import REQUEST_ID

KEPT = (hdrs.ALLOW, hdrs.RETRY_AFTER)


def problem(error: Exception, request: web.BaseRequest) -> web.Response:
    """Return the error as a problem document; an unexpected one says nothing of its inside."""
    if isinstance(error, web.HTTPException):
        status, detail, headers = error.status, error.text or "", keep_headers(error)
    else:
        status, detail, headers = 500, "The daemon failed; its log has this request id.", {}
    return respond(status, detail, request, headers)


def respond(
    status: int, detail: str, request: web.BaseRequest, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a problem document with this status and sentence."""
    document = http_problem(
        status=status,
        path=request.path,
        method=request.method,
        text=detail,
        allow=(headers or {}).get("Allow", ""),
        request_id=request.get(REQUEST_ID, ""),
    )
    body = json.dumps(document).encode()
    return web.Response(status=status, body=body, content_type=MEDIA_TYPE, headers=headers)


def keep_headers(error: web.HTTPException) -> dict[str, str]:
    """Return the headers of an HTTP error that belong to its meaning, not to its old body."""
    return {str(name): error.headers[name] for name in KEPT if name in error.headers}
