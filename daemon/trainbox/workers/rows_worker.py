"""The process that shows a dataset's rows: ``python -m trainbox.workers.rows_worker``, confined.

Reads one request from standard input and writes to standard output: the first rows as one JSON
document, or all of them as CSV. It may read that one Parquet file and write nothing.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbox.workers.lockdown import lock_down
from trainbox_sdk.spreadsheets import safe_cell

if TYPE_CHECKING:
    import duckdb

OPEN_FILES = 64
FILE_BYTES = 1024
BATCH = 2048


def main() -> int:
    """Confine this process, then answer."""
    request = json.loads(sys.stdin.buffer.read())
    path = Path(request["path"])
    lock_down(
        read=(path,),
        write=(),
        data_bytes=request["memory_bytes"],
        file_bytes=FILE_BYTES,
        open_files=OPEN_FILES,
        cpu_s=request["cpu_s"],
    )
    found = _query(path, request)
    if request["form"] == "json":
        sys.stdout.write(json.dumps(_preview(found), allow_nan=False))
    else:
        _write_csv(found)
    return 0


def _query(path: Path, request: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    # Imported only now: DuckDB starts threads, and a process with threads cannot be confined.
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "memory_limit": f"{request['memory_bytes'] // 2}B",
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET python_enable_replacements = false")
    name = str(path).replace("'", "''")
    connection.execute(f"SET allowed_paths = ['{name}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    limit = "" if request["rows"] is None else f" LIMIT {int(request['rows'])}"
    return connection.execute(f"SELECT * FROM read_parquet('{name}'){limit}")  # noqa: S608


def _preview(found: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    columns = [each[0] for each in found.description or ()]
    return {"columns": columns, "rows": [[_json(cell) for cell in row] for row in _rows(found)]}


def _write_csv(found: duckdb.DuckDBPyConnection) -> None:
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([safe_cell(each[0]) for each in found.description or ()])
    for row in _rows(found):
        writer.writerow([_text(cell) for cell in row])
    out.flush()


def _rows(found: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    while batch := found.fetchmany(BATCH):
        yield from batch


def _json(cell: Any) -> Any:
    if isinstance(cell, date | datetime):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, float) and not abs(cell) < float("inf"):
        return None
    return cell


def _text(cell: Any) -> Any:
    if isinstance(cell, str):
        return safe_cell(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell.isoformat() if isinstance(cell, date | datetime) else cell


if __name__ == "__main__":
    sys.exit(main())
