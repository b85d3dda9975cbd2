"""Every error as RFC 9457 problem+json, with a stable ``code`` and, field by field, a hint."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs, web

from trainbox_sdk import errors as sdk
from trainbox_sdk.problems import MEDIA_TYPE, Problem, http_problem
from trainbox_sdk.sound_json import json_bytes
from trainbox_sdk.surfaces import REQUEST_ID, headers_told_on

RETRY_AFTER_S = 5


class Malformed(sdk.ValidationFailed):
    """The body is not what its content type says; 400 where a wrong value is 422."""

    default_code = "malformed_body"


class UnsupportedMedia(sdk.ValidationFailed):
    """The content type is not one this route reads."""

    default_code = "unsupported_media_type"


class UnknownTusVersion(sdk.ValidationFailed):
    """A resumable upload speaks another version of tus."""

    default_code = "unknown_tus_version"


class UploadStalled(sdk.ValidationFailed):
    """The body stopped arriving."""

    default_code = "body_timeout"


STATUSES: Mapping[type[sdk.TrainboxError], tuple[int, str]] = {
    Malformed: (400, "Malformed body"),
    UnsupportedMedia: (415, "Unsupported media type"),
    UnknownTusVersion: (412, "Precondition failed"),
    UploadStalled: (408, "Body timeout"),
    sdk.ValidationFailed: (422, "Validation failed"),
    sdk.NotFound: (404, "Not found"),
    sdk.Conflict: (409, "Conflict"),
    sdk.Unauthenticated: (401, "Unauthenticated"),
    sdk.Forbidden: (403, "Forbidden"),
    sdk.TooLarge: (413, "Too large"),
    sdk.StorageFull: (507, "Storage full"),
    sdk.RateLimited: (429, "Too many requests"),
    sdk.Unavailable: (503, "Unavailable"),
    sdk.BackendRejected: (422, "Rejected by the backend"),
    sdk.PluginError: (500, "Plugin error"),
    sdk.TrainboxError: (500, "Internal error"),
}
"""Status and title by class; a subclass that is not named has its parent's."""


def respond(error: Exception, request: web.Request) -> web.Response:
    """Return the problem document of any exception; an unexpected one shows nothing inside."""
    if isinstance(error, sdk.TrainboxError):
        return _from_sdk(error, request)
    if isinstance(error, web.HTTPException):
        return _from_http(error, request)
    hidden = sdk.TrainboxError(
        "The daemon failed on this request.",
        code="internal_error",
        hint="Give the request id to whoever reads the daemon's log.",
    )
    return _from_sdk(hidden, request)


def _from_sdk(error: sdk.TrainboxError, request: web.Request) -> web.Response:
    status, title = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    document = _document(request, status, title, error.code, error.message, error.hint)
    document["errors"] = [
        {"loc": list(one.loc), "msg": one.msg, "hint": one.hint} for one in error.errors
    ]
    if error.faults:
        document["faults"] = [{**vars(fault)} for fault in error.faults]  # type: ignore[typeddict-item]
    headers: dict[str, str] = {}
    if isinstance(error, sdk.Unauthenticated):
        headers[hdrs.WWW_AUTHENTICATE] = challenge(error.code)
    if error.retryable:
        headers[hdrs.RETRY_AFTER] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    return _response(document, headers)


def _from_http(error: web.HTTPException, request: web.Request) -> web.Response:
    headers = headers_told_on(error)
    document = http_problem(
        status=error.status,
        path=request.path,
        method=request.method,
        text=error.text or error.reason,
        allow=headers.get(hdrs.ALLOW, ""),
        request_id=request.get(REQUEST_ID, ""),
    )
    return _response(document, headers)


def challenge(code: str) -> str:
    """Return the ``WWW-Authenticate`` of RFC 6750 §3: no error word where no token came."""
    return 'Bearer realm="trainbox"' + (
        "" if code == "missing_token" else ', error="invalid_token"'
    )


def _document(  # noqa: PLR0917 - one argument per member of the document
    request: web.Request, status: int, title: str, code: str, detail: str, hint: str
) -> Problem:
    return {
        "type": f"urn:trainbox:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": request.path,
        "errors": [],
        "hint": hint,
        "request_id": request.get(REQUEST_ID, ""),
    }


def _response(document: Problem, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=document["status"],
        body=json_bytes(document),
        content_type=MEDIA_TYPE,
        headers=headers,
    )
