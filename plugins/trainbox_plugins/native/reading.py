"""Where pydantic reads a value in another way than JSON Schema 2020-12 does, read it as that does.

``190.0`` is an integer (§6.1.1), which a strict model would refuse; ``0.5`` is no date-time
(§7.3.1), which a lenient model would take for seconds since 1970.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import CoreSchema, PydanticCustomError, core_schema


def integral(value: object) -> object:
    """Return a float without a fraction as the integer it is; anything else as it came."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def moment(value: object) -> object:
    """Return what may be a time in RFC 3339.

    Raises:
        PydanticCustomError: it is a number, or one written out.
    """
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value
    raise PydanticCustomError("not_a_time", "must be a time such as 2026-01-31T12:00:00Z")


def as_json_schema_has_it(schema: CoreSchema) -> CoreSchema:
    """Return a core schema that takes ``190.0`` for an integer and no number for a time.

    A union that has a float arm keeps its own choice between the two.
    """
    walked: CoreSchema = _walk(schema)
    return walked


def _walk(node: Any) -> Any:
    if isinstance(node, list):
        return [_walk(each) for each in node]
    if isinstance(node, tuple):
        return tuple(_walk(each) for each in node)
    if not isinstance(node, dict):
        return node
    if (read := _READERS.get(str(node.get("type")))) is not None:
        return core_schema.no_info_before_validator_function(read, node)
    if node.get("type") == "union" and any(_kind(arm) == "float" for arm in node["choices"]):
        return node
    return {key: each if key == "metadata" else _walk(each) for key, each in node.items()}


_READERS = {"int": integral, "datetime": moment}


def _kind(arm: Any) -> str:
    """Return the type of a union's arm, which may come with a label."""
    return str((arm[0] if isinstance(arm, tuple) else arm)["type"])
