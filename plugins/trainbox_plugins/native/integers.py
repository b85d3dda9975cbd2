"""``190.0`` is an integer to JSON Schema (2020-12 §6.1.1), so a strict model takes it as one."""

from __future__ import annotations

from typing import Any

from pydantic_core import CoreSchema, core_schema


def integral(value: object) -> object:
    """Return a float without a fraction as the integer it is; anything else as it came."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def accept_integral(schema: CoreSchema) -> CoreSchema:
    """Return a core schema whose integer fields take ``190.0`` too.

    A union that has a float arm keeps its own choice between the two.
    """
    return _walk(schema)


def _walk(node: Any) -> Any:
    if isinstance(node, list):
        return [_walk(each) for each in node]
    if isinstance(node, tuple):
        return tuple(_walk(each) for each in node)
    if not isinstance(node, dict):
        return node
    if node.get("type") == "int":
        return core_schema.no_info_before_validator_function(integral, node)  # type: ignore[arg-type]
    if node.get("type") == "union" and any(_kind(arm) == "float" for arm in node["choices"]):
        return node
    return {key: each if key == "metadata" else _walk(each) for key, each in node.items()}


def _kind(arm: Any) -> str:
    """Return the type of a union's arm, which may come with a label."""
    return str((arm[0] if isinstance(arm, tuple) else arm)["type"])
