"""Reading JSON bodies and query strings into wire models; wrong ones become 422."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from trainbox_plugins.custom_training.errors import Fault, PreciseFailure, refused
from trainbox_sdk.sound_json import json_bytes

M = TypeVar("M", bound=BaseModel)


async def json_body(request: web.Request, model: type[M]) -> M:
    """Parse the body against a wire model.

    Raises:
        PreciseFailure: not JSON, or not what the model says; every mistake at once.
    """
    if request.content_type != "application/json":
        raise refused(
            "body", msg="Send JSON, with 'Content-Type: application/json'", kind="json_type"
        )
    try:
        document = from_json(await request.read(), allow_inf_nan=False)
    except ValueError as error:
        text = str(error).partition("\n")[0]
        raise refused("body", msg=f"The body is not JSON: {text}", kind="json_invalid") from None
    _require_finite(document, ("body",))
    return _validated(model, document, "body")


def query(request: web.BaseRequest, model: type[M]) -> M:
    """Parse the query string against a wire model.

    Raises:
        PreciseFailure: unknown names, wrong values, or one name twice.
    """
    given = request.query
    values: dict[str, Any] = {}
    for name in given:
        several = given.getall(name)
        values[name] = several if len(several) > 1 else several[0]
    return _validated(model, values, "query")


def _validated(model: type[M], document: Any, where: str) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found: list[Fault] = [
            {
                "loc": [where, *_place(one["loc"], document, one["type"])],
                "msg": one["msg"],
                "type": one["type"],
            }
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise PreciseFailure(found) from None


def _place(loc: Sequence[str | int], document: Any, kind: str) -> list[str | int]:
    """Return the place in what was sent, without the words pydantic adds for its own types."""
    found: list[str | int] = []
    for at, part in enumerate(loc):
        inside = isinstance(document, dict) and part in document
        if inside or (isinstance(document, list) and isinstance(part, int)):
            found.append(part)
            document = document[part]
        elif kind == "missing" and at == len(loc) - 1:
            found.append(part)
    return found


def _require_finite(value: object, where: tuple[str | int, ...]) -> None:
    """Refuse numbers such as ``1e999``, which a parser makes infinity of."""
    if isinstance(value, float) and not math.isfinite(value):
        raise refused(*where, msg="is larger than a number can be", kind="finite_number")
    if isinstance(value, dict):
        for key, item in value.items():
            _require_finite(item, (*where, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _require_finite(item, (*where, at))


def json_reply(document: object, *, status: int = 200) -> web.Response:
    """Return a JSON answer; times are RFC 3339, numbers JSON lacks become null."""
    return web.Response(status=status, body=json_bytes(document), content_type="application/json")
