"""An error as RFC 9457 problem+json: the core's own body, and any surface's that wants it."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import NotRequired  # pydantic reads the one of typing from Python 3.12 on

from typing_extensions import (
    TypedDict,
)

from trainbox_sdk.operations import Content

MEDIA_TYPE = "application/problem+json"


class FieldProblem(TypedDict):
    """One thing wrong with a request."""

    loc: list[str | int]
    msg: str
    hint: str


class FaultProblem(TypedDict):
    """One place in uploaded data that cannot be taken."""

    rule: str
    message: str
    hint: str
    row: int | None
    line: int | None
    column: str | None
    value: str | None
    file: str


class Problem(TypedDict):
    """RFC 9457 problem document with our extensions."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[FieldProblem]
    hint: str
    request_id: str
    faults: NotRequired[list[FaultProblem]]


PROBLEM = Content(Problem, MEDIA_TYPE)

HTTP_CODES: Mapping[int, str] = {
    400: "bad_request",
    403: "cross_site",
    404: "route_not_found",
    405: "method_not_allowed",
    408: "body_timeout",
    412: "precondition_failed",
    413: "too_large",
    416: "range_not_satisfiable",
    417: "expectation_failed",
    421: "misdirected_request",
    429: "too_many_requests",
    431: "header_too_large",
    503: "stopping",
}
"""Codes of what is refused before or beside a handler."""

HTTP_HINTS: Mapping[int, str] = {
    400: "Send one well-formed request in HTTP/1.1 (RFC 9112).",
    403: "Programs leave Origin and Sec-Fetch-Site out; pages must come from this daemon.",
    408: "Send the whole body without a pause.",
    413: "Send less at once; docs/limits.md has the limits.",
    417: "Send 'Expect: 100-continue', or no Expect at all.",
    421: "Use a name of this machine, or add yours to TRAINBOX_ALLOWED_HOSTS.",
    429: "Wait as long as Retry-After says.",
    500: "Give the request id to whoever reads the daemon's log.",
    503: "Try again after as long as Retry-After says.",
}
"""What to do about it."""


def http_problem(
    *, status: int, path: str, method: str, text: str, allow: str = "", request_id: str = ""
) -> Problem:
    """Return the problem document of a refusal of the HTTP layer.

    Args:
        status: of the answer.
        path: asked for.
        method: used.
        text: one sentence; the reason phrase where it is empty.
        allow: methods the path takes, for a 405.
        request_id: as in ``X-Request-ID``.
    """
    title = http.HTTPStatus(status).phrase
    code, hint = HTTP_CODES.get(status, "http_error"), HTTP_HINTS.get(status, "")
    detail = text or title
    if status == http.HTTPStatus.NOT_FOUND:
        detail, hint = f"{path} is not a path of this daemon.", "GET /docs lists them."
        if path.endswith("/") and path != "/":
            hint = f"Paths have no slash at the end: try {path.rstrip('/') or '/docs'}."
    elif status == http.HTTPStatus.METHOD_NOT_ALLOWED:
        detail, hint = f"{path} does not take {method}.", f"It takes {allow}."
    return {
        "type": f"urn:trainbox:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": path,
        "errors": [],
        "hint": hint,
        "request_id": request_id,
    }
