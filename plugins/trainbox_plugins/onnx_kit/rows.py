"""Rows of JSON values in, rows of predictions out, in the words the daemon's own answers use.

Stands alone: numpy and the standard library.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MISSING_TIME = -(2**63)
LONGEST = 1000
"""Characters of a text that a row keeps."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_YEARS = (-62_135_596_800, 253_402_300_799)
"""Seconds of the years 1 to 9999, which is what Python and ISO 8601 know."""
_FLOATS = {"float16": np.float16, "float": np.float32, "double": np.float64}

Input = Mapping[str, Any]
"""``name``, ``type`` and ``dtype`` of one input."""


def to_json(inputs: Sequence[Input], table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a table's rows as JSON values, None where missing or what JSON does not have.

    Args:
        inputs: the graph's inputs.
        table: values [N] by column (see ``onnx_kit.columns.Table``).
    """
    columns = {
        item["name"]: [_value(item["type"], value) for value in table[item["name"]].tolist()]
        for item in inputs
    }
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def predict(
    session: Any, inputs: Sequence[Input], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Run an ``onnxruntime`` session on JSON rows and return one mapping per row.

    Every output by name, probabilities by label, None for a NaN.

    Raises:
        KeyError, TypeError, ValueError: a row without a column, or with a value of another type.
        onnxruntime exceptions: the graph does not run on them.
    """
    ranks = {value.name: len(value.shape) for value in session.get_inputs()}
    feed = {}
    for item in inputs:
        values = [row[item["name"]] for row in rows]
        tensor = _tensor(item, values)
        feed[item["name"]] = tensor.reshape(-1, 1) if ranks[item["name"]] > 1 else tensor
    names = [value.name for value in session.get_outputs()]
    return _from_outputs(dict(zip(names, session.run(None, feed), strict=True)))


def _from_outputs(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    labels = outputs["classes"].tolist() if "classes" in outputs else None
    columns = {
        name: [_entry(name, entry, labels) for entry in values.tolist()]
        for name, values in outputs.items()
        if name != "classes"
    }
    return [
        dict(zip(columns, entries, strict=True)) for entries in zip(*columns.values(), strict=True)
    ]


def _value(kind: str, value: Any) -> Any:
    if kind == "string":
        return value[:LONGEST] or None
    if kind == "datetime":
        if value == MISSING_TIME:
            return None
        seconds = min(max(value, _YEARS[0]), _YEARS[1])
        return (_EPOCH + dt.timedelta(seconds=seconds)).isoformat()
    if not math.isfinite(value):
        return None
    return bool(value) if kind == "boolean" else value


def _tensor(item: Input, values: Sequence[Any]) -> Any:
    if item["type"] == "string":
        return np.array([value or "" for value in values], object)
    if item["type"] == "datetime":
        return np.array([_seconds(value) for value in values], np.int64)
    dtype = _FLOATS.get(item["dtype"]) or np.dtype(item["dtype"])
    return np.array([math.nan if value is None else value for value in values], dtype)


def _seconds(value: Any) -> int:
    if value is None:
        return MISSING_TIME
    moment = dt.datetime.fromisoformat(value)
    return (moment.replace(tzinfo=moment.tzinfo or dt.UTC) - _EPOCH) // dt.timedelta(seconds=1)


def _entry(name: str, entry: Any, labels: Any) -> Any:
    if name == "probabilities" and labels is not None and isinstance(entry, list):
        return {_key(label): _plain(value) for label, value in zip(labels, entry, strict=True)}
    if isinstance(entry, list):
        return _plain(entry[0]) if len(entry) == 1 else [_plain(value) for value in entry]
    return _plain(entry)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _key(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
