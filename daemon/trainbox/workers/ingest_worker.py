"""The process that reads an upload: ``python -m trainbox.workers.ingest_worker``, confined.

Works in its current folder: reads the request from standard input and the file ``upload``, leaves
``data.parquet``, and answers with one JSON document on standard output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbox.workers.ingest_request import RESULT, IngestRequest
from trainbox.workers.lockdown import lock_down
from trainbox.workers.refusal import Refused, counted, shown

if TYPE_CHECKING:
    import duckdb

    from trainbox.workers.text_types import TypedColumn

OPEN_FILES = 256
HEADROOM = 2
"""Times the memory DuckDB plans within that the kernel lets the worker have: DuckDB does not count
all it uses, and its allocators hold more than they use."""


def main() -> int:
    """Confine this process, ingest, answer."""
    request = IngestRequest.from_json(sys.stdin.buffer.read())
    here = Path.cwd()
    report = lock_down(
        write=(here,),
        data_bytes=HEADROOM * request.memory_bytes,
        file_bytes=request.scratch_bytes,
        open_files=OPEN_FILES,
        cpu_s=request.cpu_s,
    )
    os.chdir(here)
    try:
        answer = ingest(request)
    except Refused as refused:
        answer = {"refused": refused.report()}
    answer["confinement"] = {"applied": report.applied, "missing": report.missing}
    sys.stdout.write(json.dumps(answer, allow_nan=False))
    return 0


def ingest(request: IngestRequest) -> dict[str, Any]:
    """Stage, type, write and profile the upload in the current folder.

    Raises:
        Refused: what the uploader must mend.
    """
    # Imported only now: DuckDB starts threads, and a process with threads cannot be confined.
    import duckdb

    from trainbox.workers import staging
    from trainbox.workers.profile import profile

    connection = staging.connect(request)
    try:
        if request.format == "csv":
            columns, rows = _stage_csv(connection, request)
        else:
            columns, rows = _stage_parquet(connection, request)
        _check_values(connection, request, columns)
        _write(connection, columns)
        connection.execute("DROP TABLE raw")
        profiled = profile(connection, columns, rows)
    except (duckdb.Error, MemoryError) as error:
        raise staging.refusal_of(error, request, "the data cannot be read") from error
    warnings = [warning for column in columns.values() for warning in column.warnings]
    return {"rows": rows, "columns": profiled, "warnings": warnings}


def _stage_csv(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    from trainbox.workers.csv_source import stage_csv
    from trainbox.workers.text_types import type_columns

    layout, rows = stage_csv(connection, request)
    _check_rows(rows, request)
    return type_columns(connection, layout.names, layout.delimiter), rows


def _stage_parquet(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    from trainbox.workers.parquet_source import stage_parquet

    columns, rows = stage_parquet(connection, request)
    _check_rows(rows, request)
    return columns, rows


def _check_rows(rows: int, request: IngestRequest) -> None:
    from trainbox.workers.parquet_source import too_many_rows

    if not rows:
        raise Refused(
            "there is a header but not one row of data",
            code="no_rows",
            hint="send at least one row below the header",
        )
    if rows > request.max_rows:
        raise too_many_rows(request)


def _check_values(
    connection: duckdb.DuckDBPyConnection,
    request: IngestRequest,
    columns: dict[str, TypedColumn],
) -> None:
    """Refuse texts too long or with NUL characters, which no model input could hold."""
    for index, (name, column) in enumerate(columns.items()):
        if column.type != "string":
            continue
        row = connection.execute(
            f"SELECT rowid + 1, strlen(CAST(c{index} AS VARCHAR)) AS bytes FROM raw"  # noqa: S608
            f" WHERE bytes > {request.max_value_bytes}"
            f" OR contains(CAST(c{index} AS VARCHAR), chr(0)) LIMIT 1"
        ).fetchone()
        if row is not None:
            _refuse_value(name, row[0], row[1], request)


def _refuse_value(name: str, row: int, size: int, request: IngestRequest) -> None:
    loc = (f"row {row}", f"column {name!r}")
    if size > request.max_value_bytes:
        raise Refused(
            f"column {shown(name)}, row {row}: a value of {counted(size, 'byte')},"
            f" at most {request.max_value_bytes:,} are allowed",
            kind="too_large",
            code="value_too_large",
            hint="a quote that is never closed makes one value of all that follows",
            loc=loc,
        )
    raise Refused(
        f"column {shown(name)}, row {row}: a text with a NUL character", code="nul_byte", loc=loc
    )


def _write(connection: duckdb.DuckDBPyConnection, columns: dict[str, TypedColumn]) -> None:
    """Write the typed Parquet file; the same data gives the same bytes.

    ORDER BY makes it so: row groups would otherwise follow the batches of parallel reading.
    """
    from trainbox.workers import staging

    selected = ", ".join(
        f"{column.expression} AS {staging.identifier(name)}" for name, column in columns.items()
    )
    connection.execute(
        f"COPY (SELECT {selected} FROM raw ORDER BY rowid) TO '{RESULT}' (FORMAT parquet,"  # noqa: S608
        f" COMPRESSION zstd, ROW_GROUP_SIZE {staging.row_group_rows(len(columns))})"
    )


if __name__ == "__main__":
    sys.exit(main())
