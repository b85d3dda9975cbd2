"""CSV into the staging table: every record has the header's width, or the upload is refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from trainbox.workers import csv_text, staging, unpack
from trainbox.workers.csv_faults import Sieve, find_faults
from trainbox.workers.ingest_request import IngestRequest
from trainbox.workers.refusal import Faults, Refused
from trainbox.workers.text_rules import COMMA, GAPS, RULES, Expected, Rule

UNIFIED = "unified.csv"


@dataclass(frozen=True)
class StagedText:
    """Text staged in the table ``raw`` as c0, c1 and so on.

    Attributes:
        rules: by column, the types it may have.
        faults: looks for what does not fit, by what the uploader said of the columns.
        notes: by column, what was seen of it on the way.
        gaps: whether texts such as ``NA`` with blanks around them are still to be made NULL.
    """

    names: tuple[str, ...]
    rows: int
    rules: Mapping[str, tuple[Rule, ...]]
    faults: Callable[[Mapping[str, Expected]], Faults]
    notes: Mapping[str, str] = field(default_factory=dict)
    gaps: bool = True


def stage_csv(connection: duckdb.DuckDBPyConnection, request: IngestRequest) -> StagedText:
    """Parse the upload into the table ``raw`` of nullable text.

    Raises:
        Refused: not CSV that can be read without guessing; with every fault.
    """
    original = path = unpack.plain_text(request)
    survey = csv_text.survey(path)
    layout = csv_text.layout(path, request.max_columns, request.max_value_bytes)

    def faults(expected: Mapping[str, Expected]) -> Faults:
        sieve = Sieve(
            names=layout.names,
            delimiter=layout.delimiter,
            max_value_bytes=request.max_value_bytes,
            max_record_bytes=request.max_record_bytes,
            expected=expected,
        )
        return find_faults(original, sieve, layout.faults)

    declared = {
        name: Expected(wanted, comma=layout.delimiter != ",")
        for name, wanted in request.types.items()
    }
    if any(fault.rule == "nul_byte" for fault in layout.faults):
        raise _no_text(layout).refusal()  # this is no text: its rows would only be noise
    if survey.broken or layout.faults:
        raise faults(declared).refusal()
    if survey.mixed_ends:
        path = Path(UNIFIED)
        csv_text.unify_line_ends(original, path)
    source = reader(path, layout, request)
    if survey.line_feeds > request.max_rows:
        # There may be too many rows: read no more of them than prove it.
        source = f"(SELECT * FROM {source} LIMIT {request.max_rows + 1})"  # noqa: S608
    try:
        rows = staging.stage(connection, len(layout.names), source)
    except (duckdb.Error, MemoryError) as error:
        refusal = staging.refusal_of(error, request, "the CSV cannot be read")
        raise _clearer(refusal, faults(declared)) from error
    if surplus_delimiters(path, layout) or _rejects(connection):
        found = faults(declared)
        refusal = Refused("the CSV cannot be read: " + _first_reject(connection))
        if found.found or _rejects(connection):
            raise _clearer(refusal, found)
    allowed = tuple(rule for rule in RULES if layout.delimiter != "," or rule is not COMMA)
    return StagedText(layout.names, rows, dict.fromkeys(layout.names, allowed), faults)


def _no_text(layout: csv_text.Layout) -> Faults:
    faults = Faults()
    faults.found.extend(fault for fault in layout.faults if fault.rule == "nul_byte")
    return faults


def _clearer(refusal: Refused, faults: Faults) -> Refused:
    """Return the faults' own refusal, or the engine's where a limit was hit or none is found."""
    return faults.refusal() if faults.found and refusal.kind == "validation" else refusal


def reader(path: Path, layout: csv_text.Layout, request: IngestRequest) -> str:
    """Return the table function that parses exactly this layout: no detection, no repair."""
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(layout.names)))
    gaps = ", ".join(map(staging.literal, GAPS))
    return (
        f"read_csv({staging.literal(str(path))}, auto_detect=false, header=true,"
        f" delim={staging.literal(layout.delimiter)}, quote='\"', escape='\"', comment='',"
        f" skip={layout.skip}, columns={{{columns}}}, nullstr=[{gaps}], strict_mode=true,"
        f" null_padding=false, max_line_size={request.max_record_bytes},"
        f" buffer_size={4 * request.max_record_bytes}, store_rejects=true, rejects_limit=1)"
    )


def _rejects(connection: duckdb.DuckDBPyConnection) -> bool:
    return bool(staging.scalar(connection, "SELECT count(*) FROM reject_errors"))


def _first_reject(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute("SELECT error_message FROM reject_errors LIMIT 1").fetchone()
    return str(row[0]).partition("\n")[0] if row else ""


def surplus_delimiters(path: Path, layout: csv_text.Layout) -> bool:
    """Return whether a line may end in a delimiter too many, which DuckDB lets pass.

    A line with an even number of quotes is a whole record, or inside a quoted value, and then does
    not end one; a line with an odd number, or of another width, calls for the slow look.
    """
    delimiter = layout.delimiter.encode()
    end = re.compile(re.escape(delimiter) + rb"\r?\n|" + re.escape(delimiter) + rb"\r?\Z")
    wanted = len(layout.names)
    for block in _whole_lines(path):
        for found in end.finditer(block):
            start = block.rfind(b"\n", 0, found.start()) + 1
            line = block[start : found.end()].rstrip(b"\r\n")
            if _width(line, delimiter) != wanted:
                return True
    return False


def _width(line: bytes, delimiter: bytes) -> int:
    """Return the number of fields of a line, -1 if it is no whole record."""
    quotes = line.count(b'"')
    if not quotes:
        return line.count(delimiter) + 1
    if quotes % 2:
        return -1
    record = next(csv.reader([line.decode("utf-8", "replace")], delimiter=delimiter.decode()))
    return len(record)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Iterate the file in blocks that end where a line does."""
    held = b""
    for block in csv_text.blocks(path):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield held + block[:cut]
            held = block[cut:]
        else:
            held += block
    if held:
        yield held
