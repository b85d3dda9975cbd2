"""Between the words of ``/v1/predict`` and the SDK's: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainbox_plugins.native.predict import wire
from trainbox_sdk.artifacts import Prediction


def prediction(result: Prediction) -> wire.PredictionOut:
    """Return a prediction as ``/v1`` says it."""
    return {"model_id": result.model_id, "rows": result.rows, "warnings": result.warnings}


def rows(body: wire.PredictIn) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a body, whichever way it brings them."""
    if body.rows:
        return body.rows
    columns = body.columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns(result: Prediction) -> dict[str, list[Any]]:
    """Return a prediction as flat columns: ``probability_yes`` for a label of ``probabilities``."""
    found: dict[str, list[Any]] = {}
    for row in result.rows:
        for name, value in _flat(row):
            found.setdefault(name, []).append(value)
    return found


def _flat(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    cells: list[tuple[str, Any]] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            stem = "probability" if name == "probabilities" else name
            cells += [(f"{stem}_{key}", inner) for key, inner in value.items()]
        elif isinstance(value, list):
            cells += [(f"{name}_{at}", inner) for at, inner in enumerate(value)]
        else:
            cells.append((name, value))
    return cells
