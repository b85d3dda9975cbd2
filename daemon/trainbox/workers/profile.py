"""What is known of each column of the finished Parquet file, and of the table as a whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from trainbox.workers import staging, table_checks
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
TOP = 10
"""Most frequent values kept."""
TOP_COLUMNS = 200
"""Columns whose most frequent values are counted."""
MAX_TEXT = 200
"""Characters of a text kept in a profile."""
BATCH = 64
"""Columns per query."""
LARGE = 1e150
"""Numbers whose squares leave the range of a double; with one of them there is no mean."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

_SOURCE = f"read_parquet('{RESULT}')"


@dataclass(frozen=True)
class _Facts:
    present: int
    distinct: int
    exact: bool
    low: Any
    high: Any
    spread: tuple[Any, ...]


def profile(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, TypedColumn], rows: int
) -> dict[str, Any]:
    """Return the fields of the SDK's ``DatasetProfile``, JSON-able."""
    found: list[dict[str, Any]] = []
    for batch in staging.batches(list(columns), BATCH):
        facts = _facts(connection, batch, columns, rows)
        examples = _examples(connection, batch, columns)
        for name in batch:
            counted = len(found) < TOP_COLUMNS and _worth_counting(columns[name], facts[name])
            top = _top(connection, name, columns[name]) if counted else []
            shown = [scalar_of(value, columns[name]) for value in examples[name]]
            described = _described(name, columns[name], facts[name], rows)
            found.append(
                {**described, "top": top, "column": described["column"] | {"examples": shown}}
            )
    duplicate_rows, warnings = table_checks.check(connection, columns, found, rows)
    noted = [
        {"rule": note.rule, "message": note.message, "columns": [name], "hint": ""}
        for name, column in columns.items()
        for note in column.notes
    ]
    return {"columns": found, "duplicate_rows": duplicate_rows, "warnings": noted + warnings}


def _described(name: str, column: TypedColumn, facts: _Facts, rows: int) -> dict[str, Any]:
    return {
        "column": {
            "name": name,
            "type": column.type,
            "sql_type": column.sql_type,
            "missing": rows - facts.present,
            "distinct": facts.distinct,
            "distinct_exact": facts.exact,
            "min": scalar_of(facts.low, column),
            "max": scalar_of(facts.high, column),
        },
        "constant": facts.present > 0 and facts.low == facts.high,
        "numbers": _numbers(facts) if column.type == "number" and facts.present else None,
        "texts": _texts(facts) if column.type == "string" and facts.present else None,
    }


def _numbers(facts: _Facts) -> dict[str, Any]:
    mean, std, zeros, negatives, quantiles = facts.spread
    large = max(abs(facts.low), abs(facts.high)) >= LARGE
    spread = {
        str(at): float(value)
        for at, value in zip(QUANTILES, quantiles or (), strict=False)
        if value is not None and math.isfinite(value)
    }
    return {
        "mean": None if large else _finite(mean),
        "std": None if large else _finite(std),
        "zeros": zeros,
        "negatives": negatives,
        "quantiles": spread,
    }


def _texts(facts: _Facts) -> dict[str, Any]:
    return {"shortest": facts.spread[0], "longest": facts.spread[1]}


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


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


def _wanted(name: str, column: TypedColumn) -> list[str]:
    """Return the aggregates of one column: four, and those of its type.

    None has a FILTER clause: each would make DuckDB copy the columns of all the others.
    """
    quoted = identifier(name)
    low, high = f"min({quoted})", f"max({quoted})"
    if column.type == "datetime":
        low, high = f"CAST({low} AS VARCHAR)", f"CAST({high} AS VARCHAR)"
    estimate = f"approx_count_distinct({quoted})"
    wanted = [f"count({quoted})", estimate, low, high]
    if column.type == "number":
        real = f"CAST({quoted} AS DOUBLE)"
        at = ", ".join(map(str, QUANTILES))
        # DuckDB fails on a variance that leaves the range of a double.
        within = f"CASE WHEN abs({real}) < {LARGE} THEN {real} END"
        wanted += [
            f"favg({within})",
            f"stddev_samp({within})",
            f"countif({quoted} = 0)",
            f"countif({quoted} < 0)",
            f"approx_quantile({real}, [{at}])",
        ]
    elif column.type == "string":
        wanted += [f"min(length({quoted}))", f"max(length({quoted}))"]
    return wanted


def _facts(
    connection: duckdb.DuckDBPyConnection,
    batch: Sequence[str],
    columns: Mapping[str, TypedColumn],
    rows: int,
) -> dict[str, _Facts]:
    wanted = {name: _wanted(name, columns[name]) for name in batch}
    listed = ", ".join(itertools.chain.from_iterable(wanted.values()))
    row = connection.execute(f"SELECT {listed} FROM {_SOURCE}").fetchone()  # noqa: S608
    assert row is not None
    values = iter(row)
    facts = {}
    for name, asked in wanted.items():
        present, estimate, low, high, *spread = itertools.islice(values, len(asked))
        facts[name] = _Facts(present, estimate, False, low, high, tuple(spread))
    few = [name for name in batch if rows <= EXACT_ROWS or facts[name].distinct < EXACT_DISTINCT]
    # Not among the others: in one query with them, DuckDB reserves gigabytes.
    return facts | _counted(connection, facts, few)


def _counted(
    connection: duckdb.DuckDBPyConnection, facts: Mapping[str, _Facts], names: Sequence[str]
) -> dict[str, _Facts]:
    """Count the distinct values of some columns."""
    if not names:
        return {}
    wanted = ", ".join(f"count(DISTINCT {identifier(name)})" for name in names)
    row = connection.execute(f"SELECT {wanted} FROM {_SOURCE}").fetchone()  # noqa: S608
    assert row is not None
    return {
        name: replace(facts[name], distinct=distinct, exact=True)
        for name, distinct in zip(names, row, strict=True)
    }


def _worth_counting(column: TypedColumn, facts: _Facts) -> bool:
    """Return whether frequent values say something: few for numbers, not unique for the others."""
    if not facts.present or not facts.exact:
        return False
    return facts.distinct <= TOP if column.type == "number" else facts.distinct < facts.present


def _top(
    connection: duckdb.DuckDBPyConnection, name: str, column: TypedColumn
) -> list[dict[str, Any]]:
    counted = connection.execute(
        f"SELECT {_read(name, column)} AS v, count(*) AS n FROM {_SOURCE}"  # noqa: S608
        f" WHERE {identifier(name)} IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {TOP}"
    ).fetchall()
    return [{"value": scalar_of(value, column), "count": count} for value, count in counted]


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
