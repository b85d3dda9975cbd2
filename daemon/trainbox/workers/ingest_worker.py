"""The process that reads an upload: ``python -m trainbox.workers.ingest_worker``, confined.

Works in its current folder: reads the request from standard input and the file ``upload``, leaves
``data.parquet``, and answers with one JSON document on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbox.workers.ingest_request import RESULT, IngestRequest
from trainbox.workers.lockdown import lock_down
from trainbox.workers.refusal import Faults, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from trainbox.workers.csv_source import StagedText
    from trainbox.workers.text_types import Misfit, TypedColumn

OPEN_FILES = 256
HEADROOM = 2
"""Times the memory DuckDB plans within that the kernel lets the worker have: DuckDB does not count
all it uses, and its allocators hold more than they use."""
VALUES_BATCH = 256
"""Columns per query."""


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
    started = time.monotonic()
    try:
        columns, rows = _stagers()[request.format](connection, request)
        _refuse_unknown(columns, request)
        _write(connection, columns)
        connection.execute("DROP TABLE raw")
        written = time.monotonic()
        profiled = profile(connection, columns, rows)
    except (duckdb.Error, MemoryError) as error:
        raise staging.refusal_of(error, request, "the data cannot be read") from error
    seconds = {"read_s": written - started, "profile_s": time.monotonic() - written}
    return {"rows": rows, **profiled, **seconds}


def _stagers() -> dict[str, Callable[[duckdb.DuckDBPyConnection, IngestRequest], Any]]:
    return {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "arrow": _arrow}


def _csv(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    from trainbox.workers.csv_source import stage_csv

    return _typed_text(connection, request, stage_csv(connection, request))


def _jsonl(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    from trainbox.workers.jsonl_source import stage_jsonl

    return _typed_text(connection, request, stage_jsonl(connection, request))


def _parquet(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    from trainbox.workers.parquet_source import stage_parquet

    return _checked(connection, request, *stage_parquet(connection, request))


def _arrow(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    from trainbox.workers.arrow_source import stage_arrow

    return _checked(connection, request, *stage_arrow(connection, request))


def _typed_text(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest, staged: StagedText
) -> tuple[dict[str, TypedColumn], int]:
    """Decide the types of staged text, and look again for the places where values do not fit."""
    from trainbox.workers.text_types import Note, clear_padded_gaps, type_columns

    _check_rows(staged.rows, request)
    if staged.gaps:
        clear_padded_gaps(connection, len(staged.names))
    columns, misfits = type_columns(connection, staged.rules, request.types)
    faults = _faulty_values(connection, request, columns)
    if misfits or faults.found:
        raise (_exact(staged, request, misfits) or _with_misfits(faults, misfits)).refusal()
    for name, note in staged.notes.items():
        columns[name] = columns[name].noting(Note("mixed_types", note))
    return columns, staged.rows


def _exact(staged: StagedText, request: IngestRequest, misfits: list[Misfit]) -> Faults | None:
    """Return what the slow look finds, with lines, if it finds anything."""
    from trainbox.workers.text_rules import COMMA, Expected

    expected = {
        name: Expected(wanted, comma=COMMA in staged.rules.get(name, ()))
        for name, wanted in request.types.items()
    } | {misfit.column: misfit.expected for misfit in misfits}
    faults = staged.faults(expected)
    return faults if faults.found else None


def _with_misfits(faults: Faults, misfits: list[Misfit]) -> Faults:
    for misfit in misfits:
        faults.add(
            f"not_a_{misfit.expected.type}",
            f"not a {misfit.expected.type} like the others",
            "write all values of a column in one way",
            row=misfit.row,
            column=misfit.column,
            value=misfit.value,
        )
    return faults


def _checked(
    connection: duckdb.DuckDBPyConnection,
    request: IngestRequest,
    columns: dict[str, TypedColumn],
    rows: int,
) -> tuple[dict[str, TypedColumn], int]:
    """Check what came typed."""
    from trainbox.workers.column_types import refuse_undeclared

    _check_rows(rows, request)
    refuse_undeclared(columns, request.types)
    faults = _faulty_values(connection, request, columns)
    if faults.found:
        raise faults.refusal()
    return columns, rows


def _check_rows(rows: int, request: IngestRequest) -> None:
    from trainbox.workers.staging import too_many_rows

    if not rows:
        raise Refused(
            "there is a header but not one row of data",
            code="no_rows",
            hint="send at least one row below the header",
        )
    if rows > request.max_rows:
        raise too_many_rows(request)


def _refuse_unknown(columns: dict[str, TypedColumn], request: IngestRequest) -> None:
    faults = Faults()
    for name in request.types:
        if name not in columns:
            hint = "declare types for columns that are there"
            faults.add("unknown_column", "declared, but not in the data", hint, column=name)
    if faults.found:
        raise faults.refusal()


def _faulty_values(
    connection: duckdb.DuckDBPyConnection,
    request: IngestRequest,
    columns: dict[str, TypedColumn],
) -> Faults:
    """Find the first text too long or with a NUL character of each column: no model takes them."""
    from trainbox.workers.refusal import counted
    from trainbox.workers.staging import batches

    texts = {
        f"c{index}": name
        for index, (name, column) in enumerate(columns.items())
        if column.type == "string"
    }
    most = request.max_value_bytes
    faults = Faults()
    for batch in batches(list(texts), VALUES_BATCH):
        wanted: list[str] = []
        for column in batch:
            text = f"CAST({column} AS VARCHAR)"
            size = f"strlen({text})"
            wanted += [
                f"min(CASE WHEN {size} > {most} THEN {{r: rowid + 1, n: {size}}} END)",
                f"min(CASE WHEN contains({text}, chr(0)) THEN rowid + 1 END)",
            ]
        found: Any = connection.execute(f"SELECT {', '.join(wanted)} FROM raw").fetchone()  # noqa: S608
        for index, column in enumerate(batch):
            large, nul = found[2 * index : 2 * index + 2]
            name = texts[column]
            if large is not None:
                what = f"a value of {counted(large['n'], 'byte')}, at most {most:,} are allowed"
                faults.add("value_too_large", what, "shorten it", row=large["r"], column=name)
            if nul is not None:
                what = "a text with a NUL character"
                faults.add("nul_byte", what, "take it away", row=nul, column=name)
    return faults


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
