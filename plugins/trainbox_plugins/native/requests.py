"""Reading what a request says: JSON bodies, query strings, headers, with errors that help."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from trainbox_plugins.native.errors import Malformed, UnsupportedMedia
from trainbox_plugins.native.strict_json import NOT_READ, check_json, require_finite
from trainbox_plugins.native.wire import PRINTABLE
from trainbox_sdk.errors import FieldError, ValidationFailed

M = TypeVar("M", bound=BaseModel)

__all__ = ["did_you_mean", "idempotency_key", "json_body", "query", "require_finite"]

MAX_KEY_LENGTH = 200
_FIXED_HINTS = {"missing": "Add this field.", "json_type": "Send a JSON value."}


async def json_body(request: web.Request, model: type[M], *, once: bool = False) -> M:
    """Parse the body against a wire model.

    Args:
        request: with its body.
        model: what the body must be.
        once: check what was read already, rather than read the text again; for models whose fields
            are the same in Python as in JSON (no dates, no enumerations), and come in bulk.

    Raises:
        UnsupportedMedia: the content type is not JSON; a browser form cannot send one (CSRF).
        Malformed: not JSON, not UTF-8, or JSON that readers understand in two ways.
        ValidationFailed: unknown, missing or wrong fields, all of them at once.
    """
    if request.content_type != "application/json":
        raise UnsupportedMedia(
            f"This route reads application/json, not {request.content_type[:100]!r}.",
            hint="Send the header 'Content-Type: application/json'.",
        )
    raw = await request.read()
    document = check_json(raw)
    try:
        if once and document is not NOT_READ:
            return model.model_validate(document)
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _translate(error, model, "The request body") from None


def query(request: web.BaseRequest, model: type[M]) -> M:
    """Parse the query string against a wire model.

    Raises:
        ValidationFailed: unknown names, wrong values, or one name twice.
    """
    given = request.query
    values: dict[str, Any] = {}
    for name in given:
        several = given.getall(name)
        values[name] = several if len(several) > 1 else several[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _translate(error, model, "The query", ("query",)) from None


def idempotency_key(request: web.BaseRequest) -> str | None:
    """Return the ``Idempotency-Key`` header, or None.

    Raises:
        ValidationFailed: empty, too long, or not printable ASCII.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        reason = f"must be 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        where = ("header", "Idempotency-Key")
        raise ValidationFailed(f"The Idempotency-Key {reason}.", errors=[FieldError(where, reason)])
    return key


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known word, or with all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(names)}." if names else "This takes no fields."


def _translate(
    error: ValidationError, model: type[BaseModel], what: str, root: tuple[str, ...] = ()
) -> ValidationFailed:
    details = error.errors(include_url=False, include_context=False)
    if details[0]["type"] == "json_invalid" and not root:
        return Malformed(f"{what} is not JSON: {details[0]['msg'].removeprefix('Invalid JSON: ')}.")
    problems: dict[tuple[str | int, ...], FieldError] = {}
    for one in details:
        loc = _without_union_arms(one["loc"])
        if loc not in problems:
            msg, hint = _words(one["type"], one["msg"], loc, model)
            problems[loc] = FieldError((*root, *loc), msg, hint)
    count = len(problems)
    return ValidationFailed(
        f"{what} has {count} error{'s' if count > 1 else ''}.", errors=tuple(problems.values())
    )


def _words(
    kind: str, msg: str, loc: Sequence[str | int], model: type[BaseModel]
) -> tuple[str, str]:
    if kind == "extra_forbidden":
        return "unknown field", did_you_mean(str(loc[-1]), _fields_at(model, loc[:-1]))
    if kind == "string_pattern_mismatch" and msg.endswith(f"'{PRINTABLE}'"):
        return "must not have control characters", ""
    if loc[:1] == ("rows",) and len(loc) > 2:  # noqa: PLR2004 - rows, number, column
        return "must be a number, a string, a boolean or null", ""
    return msg[:1].lower() + msg[1:], _FIXED_HINTS.get(kind, "")


def _without_union_arms(loc: tuple[int | str, ...]) -> tuple[str | int, ...]:
    """Drop the part of a location that names a union's arm instead of a place in the data."""
    return loc[:3] if loc[:1] == ("rows",) else loc


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> Iterable[str]:
    """Return the field names of the model at a place inside ``model``."""
    here = model
    for key in loc:
        field = here.model_fields.get(str(key))
        arms = (
            [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        )
        inner = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, BaseModel)]
        if not inner:
            return ()
        here = inner[0]
    return here.model_fields
