"""Parquet into the staging table: flat columns of types a task can see, or a refusal."""

from __future__ import annotations

from pathlib import Path

import duckdb

from trainbox.workers import staging
from trainbox.workers.column_types import refuse_infinite, refuse_types, typed_columns
from trainbox.workers.csv_text import check_names
from trainbox.workers.ingest_request import UPLOAD, IngestRequest
from trainbox.workers.refusal import Refused, shown
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
        columns = typed_columns(types)
        aliases = ", ".join(f"c{index}" for index in range(len(types)))
        source = f"read_parquet('{UPLOAD}') AS upload({aliases})"
        rows = staging.stage(
            connection,
            len(types),
            f"(SELECT * FROM {source} LIMIT {request.max_rows + 1})",  # noqa: S608
        )
    except (duckdb.Error, MemoryError) as error:
        raise staging.refusal_of(error, request, _DAMAGED) from error
    refuse_infinite(connection, columns)
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
        raise staging.too_many_rows(request)
    leaves = connection.execute(
        f"SELECT name FROM parquet_schema('{UPLOAD}') OFFSET 1"  # noqa: S608
    ).fetchall()
    described = connection.execute(
        f"DESCRIBE SELECT * FROM read_parquet('{UPLOAD}')"  # noqa: S608
    ).fetchall()
    types = {name: sql_type for name, sql_type, *_ in described}
    refuse_types(types)
    # No column is nested here, so the leaves are the columns, under the names they truly have.
    check_names([name for (name,) in leaves], request.max_columns)
    return types
