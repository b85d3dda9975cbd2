"""Every error as ``{"detail": …}``: a sentence, or for 422 a list of what is wrong where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web
from typing_extensions import TypedDict

from trainbox_plugins.custom_training.names import in_our_words
from trainbox_sdk import errors as sdk
from trainbox_sdk.sound_json import json_bytes
from trainbox_sdk.surfaces import headers_told_on, sentence_of

RETRY_AFTER_S = 5
UNPROCESSABLE = 422


class Fault(TypedDict):
    """One thing wrong with a request."""

    loc: list[str | int]
    msg: str
    type: str


class ErrorOut(TypedDict):
    """Any refusal; a list for 422."""

    detail: str | list[Fault]


class Malformed(sdk.ValidationFailed):
    """A form that cannot be read."""


class Stalled(sdk.ValidationFailed):
    """The body stopped arriving."""


class PreciseFailure(sdk.ValidationFailed):
    """A wrong value, with pydantic's own word for the kind of mistake.

    Attributes:
        details: ready for the answer.
    """

    def __init__(self, details: list[Fault]) -> None:
        super().__init__("The request has errors.")
        self.details = details


STATUSES: Mapping[type[sdk.TrainboxError], int] = {
    Malformed: 400,
    Stalled: 408,
    sdk.ValidationFailed: 422,
    sdk.NotFound: 404,
    sdk.Conflict: 409,
    sdk.Unauthenticated: 401,
    sdk.Forbidden: 403,
    sdk.TooLarge: 413,
    sdk.StorageFull: 507,
    sdk.RateLimited: 429,
    sdk.Unavailable: 503,
    sdk.BackendRejected: 422,
    sdk.TrainboxError: 500,
}
"""Status by class; a subclass that is not named has its parent's."""

_PLACES: Mapping[tuple[str | int, ...], tuple[str | int, ...]] = {
    ("body",): ("file",),
    ("dataset",): ("dataset_id",),
    ("resources", "cpus"): ("compute", "cpu_cores"),
    ("resources", "memory_bytes"): ("compute", "memory_gb"),
    ("resources", "gpus"): ("compute", "gpu"),
    ("resources", "timeout_s"): ("timeout_seconds",),
    ("params", "target"): ("config", "target_column"),
    ("params", "features"): ("config", "feature_columns"),
}
"""What the engine calls a place, and what this dialect does."""


def refused(*loc: str | int, msg: str, kind: str = "value_error") -> PreciseFailure:
    """Return a 422 about one place."""
    return PreciseFailure([{"loc": list(loc), "msg": msg, "type": kind}])


def respond(error: Exception, request: web.Request) -> web.Response:
    """Return the error body of any exception; an unexpected one shows nothing inside."""
    if isinstance(error, sdk.TrainboxError):
        return _from_sdk(error)
    if isinstance(error, web.HTTPException):
        return _from_http(error, request)
    return _response(500, "The daemon failed on this request; its log says why.")


def place(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return where in the body the engine's place is."""
    known = next((n for n in range(len(loc), 0, -1) if loc[:n] in _PLACES), 0)
    if known:
        return (*_PLACES[loc[:known]], *loc[known:])
    if loc[:2] == ("rows", 0):
        return ("inputs", *loc[2:])
    return loc[1:] if loc[:1] in {("params",), ("resources",)} else loc


def _from_sdk(error: sdk.TrainboxError) -> web.Response:
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    headers: dict[str, str] = {}
    if isinstance(error, sdk.Unauthenticated):
        known = "" if error.code == "missing_token" else ', error="invalid_token"'
        headers[hdrs.WWW_AUTHENTICATE] = f'Bearer realm="trainbox"{known}'
    if error.retryable:
        headers[hdrs.RETRY_AFTER] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    return _response(status, _detail(error, status), headers)


def _detail(error: sdk.TrainboxError, status: int) -> str | list[Fault]:
    if isinstance(error, PreciseFailure):
        return error.details
    if status != UNPROCESSABLE:
        return _sentence(error.message, error.hint)
    if error.errors:
        return [
            {
                "loc": ["body", *place(one.loc)],
                "msg": in_our_words(_sentence(one.msg, one.hint)),
                "type": "value_error",
            }
            for one in error.errors
        ]
    text = _sentence(error.message, error.hint)
    return [{"loc": ["body"], "msg": text, "type": "value_error"}]


def _sentence(message: str, hint: str) -> str:
    return f"{message} ({hint})" if hint else message


def _from_http(error: web.HTTPException, request: web.Request) -> web.Response:
    return _response(error.status, sentence_of(error, request), headers_told_on(error))


def _response(status: int, detail: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=json_bytes({"detail": detail}),
        content_type="application/json",
        headers=headers,
    )
