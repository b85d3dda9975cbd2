"""The column types that Parquet and Arrow files may have, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import duckdb

from trainbox.workers import staging
from trainbox.workers.ingest_request import ColumnType
from trainbox.workers.refusal import Faults, shown
from trainbox.workers.text_types import TypedColumn

Cast = Callable[[str], str]


def _as_is(column: str) -> str:
    return column


def _without_nan(column: str) -> str:
    return f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END"


def _text(column: str) -> str:
    return f"nullif(CAST({column} AS VARCHAR), '')"


def _stamp(column: str) -> str:
    return f"CAST({column} AS TIMESTAMP)"


def _utc_stamp(column: str) -> str:
    return f"CAST(timezone('UTC', {column}) AS TIMESTAMP)"


_WHOLE = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
)
_TYPES: Mapping[str, tuple[ColumnType, str, Cast]] = {
    **{name: ("number", name, _as_is) for name in _WHOLE},
    "FLOAT": ("number", "FLOAT", _without_nan),
    "DOUBLE": ("number", "DOUBLE", _without_nan),
    "BOOLEAN": ("boolean", "BOOLEAN", _as_is),
    "VARCHAR": ("string", "VARCHAR", _text),
    "UUID": ("string", "VARCHAR", _text),
    '"NULL"': ("string", "VARCHAR", _text),
    "DATE": ("datetime", "DATE", _as_is),
    "TIMESTAMP": ("datetime", "TIMESTAMP", _as_is),
    "TIMESTAMP_S": ("datetime", "TIMESTAMP", _stamp),
    "TIMESTAMP_MS": ("datetime", "TIMESTAMP", _stamp),
    "TIMESTAMP_NS": ("datetime", "TIMESTAMP", _stamp),
    "TIMESTAMP WITH TIME ZONE": ("datetime", "TIMESTAMP", _utc_stamp),
}
"""DuckDB's type to the task's type, the stored type and the SQL between; DECIMAL beside these."""

BATCH = 256
"""Columns per query."""

_HINTS = {
    "BLOB": "store text as UTF-8 strings: some writers must be told to annotate them",
    "TIME": "store a timestamp, or seconds as a number",
    "INTERVAL": "store a number, such as seconds",
}
_NESTED = "flatten it into columns of numbers, booleans, strings or datetimes"


def refuse_types(types: Mapping[str, str]) -> None:
    """Refuse columns of types that no task can see.

    Args:
        types: DuckDB's type by column.

    Raises:
        Refused: names them all.
    """
    faults = Faults()
    for name, sql_type in types.items():
        if sql_type in _TYPES or sql_type.startswith(("DECIMAL(", "ENUM(")):
            continue
        kind = "nested_value" if sql_type.endswith((")", "]")) else "unsupported_type"
        hint = _HINTS.get(sql_type.partition(" ")[0], _NESTED)
        what = f"the type {shown(sql_type)[1:-1]}, which no task can see"
        faults.add(kind, what, hint, column=name)
    if faults.found:
        raise faults.refusal()


def refuse_undeclared(
    columns: Mapping[str, TypedColumn], declared: Mapping[str, ColumnType]
) -> None:
    """Refuse columns whose type is not the one the uploader declared.

    Raises:
        Refused: names them all.
    """
    faults = Faults()
    for name, wanted in declared.items():
        if name in columns and columns[name].type != wanted:
            what = f"declared {wanted}, but the file has {columns[name].sql_type}"
            hint = "cast it where the file is written, or declare what it is"
            faults.add("wrong_type", what, hint, column=name)
    if faults.found:
        raise faults.refusal()


def typed_columns(types: Mapping[str, str]) -> dict[str, TypedColumn]:
    """Return the columns as they are stored, by name; they are staged as c0, c1 and so on."""
    return {name: _typed(index, types[name]) for index, name in enumerate(types)}


def _typed(index: int, sql_type: str) -> TypedColumn:
    known = "VARCHAR" if sql_type.startswith("ENUM(") else sql_type
    kind, stored, cast = _TYPES.get(known, ("number", sql_type, _as_is))
    return TypedColumn(kind, stored, cast(f"c{index}"))


def refuse_infinite(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, TypedColumn]
) -> None:
    """Refuse infinite values, which no model takes.

    Raises:
        Refused: with the first of each column.
    """
    faults = Faults()
    able = {
        f"c{index}": name
        for index, (name, column) in enumerate(columns.items())
        if column.sql_type in ("FLOAT", "DOUBLE", "DATE", "TIMESTAMP")
    }
    for batch in staging.batches(list(able), BATCH):
        wanted = ", ".join(f"min(CASE WHEN isinf({column}) THEN rowid END)" for column in batch)
        found: Any = connection.execute(f"SELECT {wanted} FROM raw").fetchone()  # noqa: S608
        for column, row in zip(batch, found, strict=True):
            if row is not None:
                hint = "replace it by a missing value or a finite number"
                name = able[column]
                faults.add("infinite_value", "an infinite value", hint, row=row + 1, column=name)
    if faults.found:
        raise faults.refusal()
