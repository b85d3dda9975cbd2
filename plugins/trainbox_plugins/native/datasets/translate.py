"""Between the words of ``/v1/datasets`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.datasets import wire
from trainbox_sdk.artifacts import Column, DatasetView


def column(view: Column) -> wire.ColumnOut:
    """Return a column as ``/v1`` says it."""
    return {
        "name": view.name,
        "type": view.type,
        "sql_type": view.sql_type,
        "missing": view.missing,
        "distinct": view.distinct,
        "distinct_exact": view.distinct_exact,
        "min": view.min,
        "max": view.max,
        "examples": view.examples,
    }


def dataset(view: DatasetView) -> wire.DatasetOut:
    """Return a dataset as ``/v1`` says it."""
    return {
        "id": view.id,
        "name": view.name,
        "digest": view.digest,
        "source_format": view.source_format,
        "bytes": view.bytes,
        "rows": view.rows,
        "columns": [column(each) for each in view.columns],
        "warnings": view.warnings,
        "owner": view.owner,
        "created_at": view.created_at,
    }
