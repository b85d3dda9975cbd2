"""The database a worker reads an upload into: on disk, in the work folder, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import duckdb

from trainbox.workers.ingest_request import IngestRequest
from trainbox.workers.refusal import Refused, counted

T = TypeVar("T")

MAX_ROW_GROUP = 122_880
VECTOR = 2048
"""DuckDB's vector size: row groups are multiples of it."""
CELLS_PER_GROUP = 4_000_000
WIDE = 500
"""Columns beyond which one thread reads."""

_OWN_SHARE = 0.5
"""Of the worker's memory, what DuckDB may plan with; the rest is Python, code and buffers."""


def connect(request: IngestRequest) -> duckdb.DuckDBPyConnection:
    """Open an engine for an upload in the current folder."""
    return open_engine(memory_bytes=request.memory_bytes, threads=request.threads)


def open_engine(
    *, memory_bytes: int, threads: int, paths: Sequence[str] = ()
) -> duckdb.DuckDBPyConnection:
    """Open an engine that reaches only the current folder and cannot be talked out of it.

    :func:`lock` must still be called, once its databases are attached.

    Args:
        memory_bytes: of the process; half of it is for the engine to plan with.
        threads: of the engine.
        paths: further files it may reach.
    """
    here = os.getcwd()  # noqa: PTH109 - as the confined process sees it
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": f"{int(memory_bytes * _OWN_SHARE)}B",
            "temp_directory": f"{here}/spill",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute(f"SET allowed_directories = [{literal(here)}]")
    if paths:
        connection.execute(f"SET allowed_paths = [{', '.join(map(literal, paths))}]")
    connection.execute("SET enable_external_access = false")
    return connection


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Let no later statement change a setting."""
    connection.execute("SET lock_configuration = true")


def stage(connection: duckdb.DuckDBPyConnection, columns: int, source: str) -> int:
    """Copy ``source``'s rows into the table ``raw``, in order, and return how many there are.

    Args:
        connection: the engine.
        columns: how many columns the source has.
        source: what follows ``FROM``; its columns are called c0, c1, …
    """
    group = row_group_rows(columns)
    if columns > WIDE:
        # Every thread holds buffers for every column.
        connection.execute("SET threads = 1")
    connection.execute(f"ATTACH 'staging.db' AS staging (ROW_GROUP_SIZE {group})")
    connection.execute("USE staging")
    lock(connection)
    connection.execute(f"CREATE TABLE raw AS SELECT * FROM {source}")  # noqa: S608
    return int(scalar(connection, "SELECT count(*) FROM raw"))


def row_group_rows(columns: int) -> int:
    """Return rows per row group: fewer for wide tables, so that one group fits in memory."""
    fitting = CELLS_PER_GROUP // max(columns, 1) // VECTOR * VECTOR
    return min(max(fitting, VECTOR), MAX_ROW_GROUP)


def scalar(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """Return the one value of a query."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def identifier(name: str) -> str:
    """Return a name as SQL quotes it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def literal(text: str) -> str:
    """Return a string as SQL quotes it."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def refusal_of(error: Exception, request: IngestRequest, what: str) -> Refused:
    """Turn what the engine says about hostile or oversized data into a refusal.

    Args:
        error: of DuckDB, or a MemoryError.
        request: for the limits it ran into.
        what: such as ``the Parquet file is damaged``.
    """
    first = str(error).partition("\n")[0]
    if isinstance(error, (MemoryError, duckdb.OutOfMemoryException)) or "std::bad_alloc" in first:
        return Refused(
            f"reading it needs more than {request.memory_bytes:,} bytes of memory",
            kind="too_large",
            code="needs_too_much_memory",
            hint="fewer columns, shorter values or smaller Parquet row groups need less memory",
        )
    if "No space left" in first or "Disk quota" in first:
        return Refused("no room left to unpack it", kind="storage_full", code="storage_full")
    if "File too large" in first:
        return Refused(
            f"unpacked it is larger than {request.scratch_bytes:,} bytes",
            kind="too_large",
            code="unpacks_too_large",
        )
    return Refused(f"{what}: {first}", hint="write the file again and upload that")


def too_many_rows(request: IngestRequest) -> Refused:
    """Return the refusal of a file with too many rows."""
    return Refused(
        f"more than {counted(request.max_rows, 'row')}",
        kind="too_large",
        code="too_many_rows",
    )
