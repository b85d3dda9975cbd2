"""Small real datasets for tests of task types: a Parquet file and the view the daemon has of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from trainbox_sdk.artifacts import Column, ColumnType, DatasetView

SQL_TYPES: Mapping[type, tuple[str, ColumnType]] = {
    bool: ("BOOLEAN", "boolean"),
    int: ("BIGINT", "number"),
    float: ("DOUBLE", "number"),
    str: ("VARCHAR", "string"),
    datetime: ("TIMESTAMP", "datetime"),
    date: ("DATE", "datetime"),
}


def write_example(path: Path, columns: Mapping[str, Sequence[Any]]) -> DatasetView:
    """Write columns as Parquet, the form in which every dataset reaches a guest.

    Args:
        path: the file to write.
        columns: name to values of one Python type each (bool, int, float, str, date, datetime),
            None for a gap; all of one length.

    Returns:
        the dataset as a task's ``validate`` and ``plan`` see it.
    """
    kinds = {name: SQL_TYPES[_kind(values)] for name, values in columns.items()}
    declared = ", ".join(f"{_quoted(name)} {kind[0]}" for name, kind in kinds.items())
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE example ({declared})")
        if rows:
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO example VALUES ({marks})", rows)  # noqa: S608
        target = str(path).replace("'", "''")
        connection.execute(f"COPY example TO '{target}' (FORMAT parquet)")
    return DatasetView(
        id="ds_example",
        name="example",
        digest=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
        source_format="parquet",
        bytes=path.stat().st_size,
        rows=len(rows),
        columns=tuple(_column(name, values, *kinds[name]) for name, values in columns.items()),
        owner="example",
        created_at=datetime.now(UTC),
    )


def _kind(values: Sequence[Any]) -> type:
    kinds = {type(value) for value in values if value is not None} or {str}
    if kinds == {int, float}:
        return float
    (kind,) = kinds
    return kind


def _column(name: str, values: Sequence[Any], sql_type: str, kind: ColumnType) -> Column:
    known = [_json(value) for value in values if value is not None and _is_json(value)]
    distinct = list(dict.fromkeys(known))
    return Column(
        name=name,
        type=kind,
        sql_type=sql_type,
        missing=sum(value is None for value in values),
        distinct=len(distinct),
        distinct_exact=True,
        min=min(known, default=None),
        max=max(known, default=None),
        examples=tuple(distinct[:5]),
    )


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
