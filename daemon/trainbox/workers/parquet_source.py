"""Parquet into the staging table: flat columns of types a task can see, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from trainbox.workers import staging
from trainbox.workers.csv_text import check_names
from trainbox.workers.ingest_request import UPLOAD, IngestRequest
from trainbox.workers.refusal import Complaint, Refused, counted, shown
from trainbox.workers.text_rules import ColumnType
from trainbox.workers.text_types import TypedColumn

MAGIC = b"PAR1"
ENCRYPTED = b"PARE"
TAIL_BYTES = 8
SMALLEST = 12
MAX_FOOTER_BYTES = 64 * 1024**2

_DAMAGED = "the Parquet file is damaged"
_AGAIN = (
    "upload it again; a file that was still being written or cut off in transit looks like this"
)

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

_HINTS = {
    "BLOB": "store text as UTF-8 strings: some writers must be told to annotate them",
    "TIME": "store a timestamp, or seconds as a number",
    "INTERVAL": "store a number, such as seconds",
}
_NESTED = "flatten it into columns of numbers, booleans, strings or datetimes"


def stage_parquet(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    """Copy the upload into the table ``raw``; return its columns by name and its row count.

    Raises:
        Refused: not Parquet, damaged, over a limit, or with columns no task can see.
    """
    check_frame(Path(UPLOAD))
    try:
        types = _describe(connection, request)
        columns = {name: _typed(index, types[name]) for index, name in enumerate(types)}
        aliases = ", ".join(f"c{index}" for index in range(len(types)))
        source = f"read_parquet('{UPLOAD}') AS upload({aliases})"
        rows = staging.stage(
            connection,
            len(types),
            f"(SELECT * FROM {source} LIMIT {request.max_rows + 1})",  # noqa: S608
        )
    except (duckdb.Error, MemoryError) as error:
        raise staging.refusal_of(error, request, _DAMAGED) from error
    _refuse_infinite(connection, columns)
    return columns, rows


def check_frame(path: Path) -> None:
    """Look at both ends of the file, before any parser does (Parquet format, "File format").

    Raises:
        Refused: empty, something else, encrypted, or cut off.
    """
    size = path.stat().st_size
    if not size:
        raise Refused("the file is empty", code="empty_file")
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
        file.seek(max(size - TAIL_BYTES, 0))
        tail = file.read(TAIL_BYTES)
    if ENCRYPTED in (head, tail[4:]):
        raise Refused("the Parquet file is encrypted", code="wrong_format", hint="send it in clear")
    if head != MAGIC:
        raise Refused(
            f"this is not Parquet: it starts with {shown(head)} instead of {shown(MAGIC)}",
            code="wrong_format",
            hint="send CSV text with format=csv",
        )
    footer = int.from_bytes(tail[:4], "little")
    if size < SMALLEST or tail[4:] != MAGIC or footer > size - SMALLEST:
        raise Refused("the Parquet file is cut off: its footer is missing", hint=_AGAIN)
    if footer > MAX_FOOTER_BYTES:
        raise Refused(
            f"the Parquet footer of {footer:,} bytes is too large",
            kind="too_large",
            code="needs_too_much_memory",
            hint="write fewer row groups",
        )


def _describe(connection: duckdb.DuckDBPyConnection, request: IngestRequest) -> dict[str, str]:
    rows = staging.scalar(
        connection,
        f"SELECT sum(num_rows) FROM parquet_file_metadata('{UPLOAD}')",  # noqa: S608
    )
    if rows is None or rows <= 0:
        raise Refused("the Parquet file has no rows", code="no_rows")
    if rows > request.max_rows:
        raise too_many_rows(request)
    leaves = connection.execute(
        f"SELECT name FROM parquet_schema('{UPLOAD}') OFFSET 1"  # noqa: S608
    ).fetchall()
    described = connection.execute(
        f"DESCRIBE SELECT * FROM read_parquet('{UPLOAD}')"  # noqa: S608
    ).fetchall()
    types = {name: sql_type for name, sql_type, *_ in described}
    _refuse_types(types)
    # No column is nested here, so the leaves are the columns, under the names they truly have.
    check_names([name for (name,) in leaves], request.max_columns, where="the schema")
    return types


def too_many_rows(request: IngestRequest) -> Refused:
    """Return the refusal of a file with too many rows."""
    return Refused(
        f"more than {counted(request.max_rows, 'row')}",
        kind="too_large",
        code="too_many_rows",
    )


def _refuse_types(types: Mapping[str, str]) -> None:
    complaints = [
        Complaint(
            ("body", f"column {name!r}"),
            f"column {shown(name)} has the type {shown(sql_type)[1:-1]}, which no task can see",
            _HINTS.get(sql_type.partition(" ")[0], _NESTED),
        )
        for name, sql_type in types.items()
        if sql_type not in _TYPES and not sql_type.startswith("DECIMAL(")
    ]
    if complaints:
        raise Refused(
            complaints[0].msg,
            code="unsupported_type",
            hint=complaints[0].hint,
            complaints=complaints[:100],
        )


def _typed(index: int, sql_type: str) -> TypedColumn:
    kind, stored, cast = _TYPES.get(sql_type, ("number", sql_type, _as_is))
    return TypedColumn(kind, stored, cast(f"c{index}"))


def _refuse_infinite(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, TypedColumn]
) -> None:
    for index, (name, column) in enumerate(columns.items()):
        if column.sql_type not in ("FLOAT", "DOUBLE", "DATE", "TIMESTAMP"):
            continue
        row: Any = staging.scalar(
            connection,
            f"SELECT min(rowid) + 1 FROM raw WHERE isinf(c{index})",  # noqa: S608
        )
        if row is not None:
            raise Refused(
                f"column {shown(name)} holds an infinite value, first in row {row}",
                code="infinite_value",
                hint="replace it by a missing value or a finite number",
                loc=(f"row {row}", f"column {name!r}"),
            )
