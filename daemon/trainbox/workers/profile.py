"""What is known of each column of the finished Parquet file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from trainbox.workers import staging
from trainbox.workers.ingest_request import RESULT
from trainbox.workers.staging import identifier
from trainbox.workers.text_types import TypedColumn

EXACT_ROWS = 100_000
"""Up to this many rows every column's distinct values are counted."""
EXACT_DISTINCT = 10_000
"""Above that, a column's are counted if the estimate (HyperLogLog) is below this."""
EXAMPLES = 5
EXAMPLE_ROWS = 1000
"""Rows at the start among which examples are looked for first."""
MAX_TEXT = 200
"""Characters of a text kept in a profile."""
BATCH = 64
"""Columns per query."""

_SOURCE = f"read_parquet('{RESULT}')"


def profile(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, TypedColumn], rows: int
) -> list[dict[str, Any]]:
    """Return one mapping per column: the fields of the SDK's ``Column``, JSON-able."""
    found: list[dict[str, Any]] = []
    for batch in staging.batches(list(columns), BATCH):
        facts = _facts(connection, batch, columns)
        exact = [name for name in batch if rows <= EXACT_ROWS or facts[name][1] < EXACT_DISTINCT]
        distinct = _distinct(connection, exact)
        examples = _examples(connection, batch, columns)
        for name in batch:
            present, estimate, low, high = facts[name]
            found.append(
                {
                    "name": name,
                    "type": columns[name].type,
                    "sql_type": columns[name].sql_type,
                    "missing": rows - present,
                    "distinct": distinct.get(name, estimate),
                    "distinct_exact": name in distinct,
                    "min": scalar_of(low, columns[name]),
                    "max": scalar_of(high, columns[name]),
                    "examples": [scalar_of(value, columns[name]) for value in examples[name]],
                }
            )
    return found


def scalar_of(value: Any, column: TypedColumn) -> Any:
    """Return a value as JSON has it: datetimes as ISO 8601, long texts cut."""
    if value is None or column.type == "boolean":
        return value
    if column.type == "number":
        return int(value) if column.sql_type.endswith(("INT", "INTEGER")) else float(value)
    if column.type == "datetime":
        return value if column.sql_type == "DATE" else value.replace(" ", "T", 1) + "Z"
    return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"


def _read(name: str, column: TypedColumn) -> str:
    """Return SQL that fetches a value; datetimes as text, since Python's stop at year 9999."""
    quoted = identifier(name)
    return f"CAST({quoted} AS VARCHAR)" if column.type == "datetime" else quoted


def _facts(
    connection: duckdb.DuckDBPyConnection,
    batch: Sequence[str],
    columns: Mapping[str, TypedColumn],
) -> dict[str, tuple[int, int, Any, Any]]:
    wanted: list[str] = []
    for name in batch:
        quoted = identifier(name)
        low, high = f"min({quoted})", f"max({quoted})"
        if columns[name].type == "datetime":
            low, high = f"CAST({low} AS VARCHAR)", f"CAST({high} AS VARCHAR)"
        wanted += [f"count({quoted})", f"approx_count_distinct({quoted})", low, high]
    row = connection.execute(f"SELECT {', '.join(wanted)} FROM {_SOURCE}").fetchone()  # noqa: S608
    assert row is not None
    return {name: tuple(row[4 * i : 4 * i + 4]) for i, name in enumerate(batch)}


def _distinct(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, int]:
    if not names:
        return {}
    wanted = ", ".join(f"count(DISTINCT {identifier(name)})" for name in names)
    row = connection.execute(f"SELECT {wanted} FROM {_SOURCE}").fetchone()  # noqa: S608
    assert row is not None
    return dict(zip(names, row, strict=True))


def _examples(
    connection: duckdb.DuckDBPyConnection,
    batch: Sequence[str],
    columns: Mapping[str, TypedColumn],
) -> dict[str, list[Any]]:
    wanted = ", ".join(_read(name, columns[name]) for name in batch)
    head = connection.execute(
        f"SELECT {wanted} FROM {_SOURCE} LIMIT {EXAMPLE_ROWS}"  # noqa: S608
    ).fetchall()
    found: dict[str, list[Any]] = {}
    for name, values in zip(batch, zip(*head, strict=True), strict=True):
        found[name] = _first_distinct(values) or _late_example(connection, name, columns[name])
    return found


def _first_distinct(values: Sequence[Any]) -> list[Any]:
    present = dict.fromkeys(value for value in values if value is not None)
    return list(itertools.islice(present, EXAMPLES))


def _late_example(
    connection: duckdb.DuckDBPyConnection, name: str, column: TypedColumn
) -> list[Any]:
    return [
        value
        for (value,) in connection.execute(
            f"SELECT {_read(name, column)} FROM {_SOURCE}"  # noqa: S608
            f" WHERE {identifier(name)} IS NOT NULL LIMIT 1"
        ).fetchall()
    ]
