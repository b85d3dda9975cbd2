"""CSV into the staging table: every record has the header's width, or the upload is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

from trainbox.workers import csv_text, staging
from trainbox.workers.csv_diagnosis import diagnose
from trainbox.workers.ingest_request import UPLOAD, IngestRequest
from trainbox.workers.refusal import Complaint, Refused, counted
from trainbox.workers.text_rules import GAPS

UNIFIED = "unified.csv"
LISTED = 20
"""Bad records that one refusal lists."""

_COUNTS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")


def stage_csv(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[csv_text.Layout, int]:
    """Parse the upload into the table ``raw`` of nullable text; return its layout and row count.

    Raises:
        Refused: not CSV that can be read without guessing.
    """
    path = Path(UPLOAD)
    survey = csv_text.survey(path)
    if survey.mixed_ends:
        csv_text.unify_line_ends(path, Path(UNIFIED))
        path.unlink()
        path = Path(UNIFIED)
    layout = csv_text.layout(path, request.max_columns, request.max_value_bytes)
    source = reader(path, layout, request)
    if survey.line_feeds > request.max_rows:
        # There may be too many rows: read no more of them than prove it.
        source = f"(SELECT * FROM {source} LIMIT {request.max_rows + 1})"  # noqa: S608
    try:
        rows = staging.stage(connection, len(layout.names), source)
    except (duckdb.Error, MemoryError) as error:
        refusal = staging.refusal_of(error, request, "the CSV cannot be read")
        raise diagnose(path, layout, refusal) from error
    _refuse_rejects(connection, path, layout, request)
    return layout, rows


def reader(path: Path, layout: csv_text.Layout, request: IngestRequest) -> str:
    """Return the table function that parses exactly this layout: no detection, no repair."""
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(layout.names)))
    gaps = ", ".join(map(staging.literal, GAPS))
    return (
        f"read_csv({staging.literal(str(path))}, auto_detect=false, header=true,"
        f" delim={staging.literal(layout.delimiter)}, quote='\"', escape='\"', comment='',"
        f" skip={layout.skip}, columns={{{columns}}}, nullstr=[{gaps}], strict_mode=true,"
        f" null_padding=false, max_line_size={request.max_record_bytes},"
        f" buffer_size={4 * request.max_record_bytes}, store_rejects=true, rejects_limit={LISTED})"
    )


def _refuse_rejects(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    layout: csv_text.Layout,
    request: IngestRequest,
) -> None:
    rejects = connection.execute(
        "SELECT line_byte_position, error_type, error_message FROM reject_errors ORDER BY ALL"
    ).fetchall()
    if not rejects:
        return
    lines = _lines(path, [position for position, *_ in rejects])
    complaints = [
        _complaint(lines[position], kind, message, layout, request)
        for position, kind, message in rejects
    ]
    refusal = Refused(
        complaints[0].msg,
        code="malformed_csv",
        hint=complaints[0].hint,
        complaints=complaints,
    )
    structural = all("COLUMNS" in kind for _, kind, _ in rejects)
    raise refusal if structural else diagnose(path, layout, refusal)


def _complaint(
    line: int, kind: str, message: str, layout: csv_text.Layout, request: IngestRequest
) -> Complaint:
    hint = ""
    counts = _COUNTS.search(message)
    if counts is not None:
        text = (
            f"line {line} has {counted(int(counts[2]), 'field')},"
            f" the header has {counted(int(counts[1]), 'column')}"
        )
        hint = (
            f'quote values that contain the delimiter {layout.delimiter!r}: "a{layout.delimiter}b"'
        )
    elif kind == "LINE SIZE OVER MAXIMUM":
        text = f"line {line} starts a record of more than {request.max_record_bytes:,} bytes"
        hint = "a quote that is never closed makes one record of all that follows"
    elif kind == "UNQUOTED VALUE":
        text = f"line {line} has a quoted value that does not end where its quote closes"
        hint = 'write a quote inside a quoted value twice: "5"" pipe"'
    else:
        text = f"line {line}: {message}"
    return Complaint(("body", f"line {line}"), text, hint)


def _lines(path: Path, positions: Sequence[int]) -> dict[int, int]:
    """Return the line number, from 1, in which each byte position lies."""
    found: dict[int, int] = {}
    wanted = sorted(set(positions))
    offset = lines = 0
    for block in csv_text.blocks(path):
        while wanted and wanted[0] < offset + len(block):
            position = wanted.pop(0)
            found[position] = lines + block.count(b"\n", 0, position - offset) + 1
        lines += block.count(b"\n")
        offset += len(block)
    return found | dict.fromkeys(wanted, lines + 1)
