"""Every error as ``{"error": "…"}`` in JSON: clients of this protocol parse nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs, web

from trainbox_sdk import errors as sdk
from trainbox_sdk.sound_json import json_bytes
from trainbox_sdk.surfaces import headers_told_on, sentence_of

RETRY_AFTER_S = 5
STATUSES: Mapping[type[sdk.TrainboxError], int] = {
    sdk.ValidationFailed: 400,
    sdk.TooLarge: 400,
    sdk.NotFound: 404,
    sdk.Conflict: 409,
    sdk.Unauthenticated: 401,
    sdk.Forbidden: 403,
    sdk.StorageFull: 507,
    sdk.Unavailable: 503,
    sdk.BackendRejected: 400,
    sdk.TrainboxError: 500,
}
"""Status by class; a subclass that is not named has its parent's."""


def respond(error: Exception, request: web.Request) -> web.Response:
    """Return the error body of any exception; an unexpected one shows nothing inside."""
    if isinstance(error, sdk.TrainboxError):
        return _from_sdk(error)
    if isinstance(error, web.HTTPException):
        return _from_http(error, request)
    return _response(500, "The daemon failed on this request; its log says why.")


def _from_sdk(error: sdk.TrainboxError) -> web.Response:
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    headers: dict[str, str] = {}
    if isinstance(error, sdk.Unauthenticated):
        known = "" if error.code == "missing_token" else ', error="invalid_token"'
        headers[hdrs.WWW_AUTHENTICATE] = f'Bearer realm="trainbox"{known}'
    if error.retryable:
        headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    text = error.message + (f"; {error.hint}" if error.hint else "")
    return _response(status, text, headers)


def _from_http(error: web.HTTPException, request: web.Request) -> web.Response:
    return _response(error.status, sentence_of(error, request), headers_told_on(error))


def _response(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=json_bytes({"error": text}),
        content_type="application/json",
        headers=headers,
    )
