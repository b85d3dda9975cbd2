"""The process that reads a table to predict, or writes predictions as one, confined.

``python -m trainbox.workers.table_worker`` in a folder of its own. Standard input holds a request
in JSON: to read the file :data:`predict_wire.TABLE`, or to write columns that it brings along. What
it answers is on standard output: columns as JSON, or the bytes of the table. It serves one request
and ends.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from trainbox.workers.lockdown import lock_down
from trainbox.workers.predict_wire import TABLE
from trainbox.workers.refusal import Refused

WRITTEN = "written.parquet"
OPEN_FILES = 64
CPU_S = 120

GAPS = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
"""Texts of a CSV cell that mean "missing", as in an uploaded dataset."""
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
MAX_CELL = 1024 * 1024


def main() -> int:
    """Confine this process, then answer."""
    request = json.loads(sys.stdin.buffer.read())
    here = Path.cwd()
    lock_down(
        write=(here,),
        data_bytes=request["memory_bytes"],
        file_bytes=request["memory_bytes"],
        open_files=OPEN_FILES,
        cpu_s=CPU_S,
    )
    os.chdir(here)
    if request["do"] == "write":
        sys.stdout.buffer.write(write(request))
        return 0
    try:
        answer: dict[str, Any] = {"columns": read(request)}
        text = json.dumps(answer, allow_nan=False)
    except Refused as refused:
        text = json.dumps({"refused": {"message": refused.message, "hint": refused.hint}})
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes make a parser raise
        first = str(error).partition("\n")[0][:500]
        text = json.dumps({"refused": {"message": f"it cannot be read: {first}", "hint": ""}})
    sys.stdout.write(text)
    return 0


def read(request: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the table's columns as JSON values, None where missing.

    Raises:
        Refused: not such a table, two columns of one name, or too many rows.
    """
    reader = {"csv": _read_csv, "arrow": _read_arrow, "parquet": _read_parquet}[request["format"]]
    names, rows = reader(request)
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise Refused(f"the column {double!r} is there twice")
    if len(rows) > request["max_rows"]:
        raise Refused(f"it has more than {request['max_rows']:,} rows", hint="send several tables")
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def _read_csv(request: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    try:
        text = Path(TABLE).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"it is not UTF-8 text at byte {error.start}") from error
    csv.field_size_limit(MAX_CELL)
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = next(lines, [])
        rows: list[list[Any]] = []
        for cells in lines:
            if not cells and len(names) > 1:
                continue  # an empty line
            if len(cells) not in {len(names), 0}:
                raise Refused(
                    f"line {lines.line_num} has {len(cells)} fields, the header {len(names)}"
                )
            rows.append(cells or [""])
            if len(rows) > request["max_rows"]:
                break
    except csv.Error as error:
        raise Refused(f"line {lines.line_num}: {error}") from error
    kinds = [request["types"].get(name, "string") for name in names]
    return names, [[_cell(c, k) for c, k in zip(row, kinds, strict=True)] for row in rows]


def _cell(text: str, kind: str) -> Any:
    """Return a CSV cell as the JSON value of its type; the text itself where it is none."""
    if text.strip() in GAPS:
        return None
    if kind == "string":
        return text
    bare = text.strip()
    if kind == "boolean":
        return {"true": True, "false": False}.get(bare.lower(), text)
    if kind == "number" and _INTEGER.fullmatch(bare):
        return int(bare)
    if kind == "number" and _NUMBER.fullmatch(bare):
        return float(bare)
    return bare if kind == "datetime" else text


def _read_arrow(request: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    import nanoarrow
    from nanoarrow.ipc import InputStream

    from trainbox.workers import staging
    from trainbox.workers.arrow_frames import check_frames

    skip = check_frames(Path(TABLE))
    connection = staging.open_engine(memory_bytes=request["memory_bytes"], threads=1)
    with Path(TABLE).open("rb") as file:
        file.seek(skip)
        stream = nanoarrow.ArrayStream(InputStream.from_readable(file))
        return _fetched(connection.from_arrow(stream), request)


def _read_parquet(request: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    from trainbox.workers import staging

    connection = staging.open_engine(memory_bytes=request["memory_bytes"], threads=1)
    return _fetched(connection.sql(f"SELECT * FROM read_parquet('{TABLE}')"), request)  # noqa: S608


def _fetched(relation: Any, request: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    names = list(relation.columns)
    rows = relation.limit(request["max_rows"] + 1).fetchall()
    return names, [[_json(cell) for cell in row] for row in rows]


def _json(cell: Any) -> Any:
    if isinstance(cell, bool | int | str):
        return cell
    if isinstance(cell, Decimal):
        cell = float(cell)
    if isinstance(cell, float):
        # NaN is how frames say "missing"; infinity is left for the daemon to refuse by place.
        return None if cell != cell else cell if abs(cell) < float("inf") else str(cell)  # noqa: PLR0124
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    return None if cell is None else {"": type(cell).__name__}


def write(request: Mapping[str, Any]) -> bytes:
    """Return columns as the bytes of a table."""
    names, columns = list(request["columns"]), list(request["columns"].values())
    kinds = [_sql_type(column) for column in columns]
    if request["format"] == "arrow":
        return _write_arrow(names, columns, kinds)
    from trainbox.workers import staging

    connection = staging.open_engine(memory_bytes=request["memory_bytes"], threads=1)
    picked = ", ".join(
        f"unnest(?::{kind}[]) AS {staging.identifier(name)}"
        for name, kind in zip(names, kinds, strict=True)
    )
    connection.execute(f"COPY (SELECT {picked}) TO '{WRITTEN}' (FORMAT parquet)", columns)
    return Path(WRITTEN).read_bytes()


def _write_arrow(
    names: Sequence[str], columns: Sequence[Sequence[Any]], kinds: Sequence[str]
) -> bytes:
    import nanoarrow as na
    from nanoarrow.ipc import StreamWriter

    types = {"DOUBLE": na.float64, "BIGINT": na.int64, "BOOLEAN": na.bool_, "VARCHAR": na.string}
    fields = {name: types[kind]() for name, kind in zip(names, kinds, strict=True)}
    parts = [
        na.c_array(column, schema) for column, schema in zip(columns, fields.values(), strict=True)
    ]
    schema = na.struct(fields)
    whole = na.c_array_from_buffers(schema, len(columns[0]), [None], children=parts)
    out = io.BytesIO()
    with StreamWriter.from_writable(out) as writer:
        writer.write_stream(na.c_array_stream(whole))
    return out.getvalue()


def _sql_type(column: Sequence[Any]) -> str:
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {bool} and kinds:
        return "BOOLEAN"
    if kinds <= {int} and kinds:
        return "BIGINT"
    return "DOUBLE" if kinds <= {int, float} else "VARCHAR"


if __name__ == "__main__":
    sys.exit(main())
