"""The text of a CSV file before any parser sees it: encoding, line ends, delimiter, header."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbox.workers.refusal import Refused, counted, shown

BLOCK = 1024**2
SAMPLE_BYTES = 256 * 1024
SAMPLE_RECORDS = 50
DELIMITERS = (",", ";", "\t", "|")
MAX_NAME = 256

_FOREIGN = (
    (b"PAR1", "a Parquet file", "send it with format=parquet"),
    (b"\x1f\x8b", "gzip-compressed", "decompress it first: gunzip file.csv.gz"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "export the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it first: unzstd file.csv.zst"),
    (b"\xff\xfe", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
)


@dataclass(frozen=True)
class Survey:
    """What one pass over the bytes found.

    Attributes:
        bom: whether a UTF-8 byte order mark leads.
        line_feeds: number of LF, those of CR LF included.
        windows_ends: number of CR LF.
    """

    bom: bool
    line_feeds: int
    windows_ends: int

    @property
    def mixed_ends(self) -> bool:
        """Whether both kinds of line end occur."""
        return 0 < self.windows_ends < self.line_feeds


@dataclass(frozen=True)
class Layout:
    """How the file is to be parsed.

    Attributes:
        skip: blank lines before the header.
        names: the header, in order.
    """

    delimiter: str
    skip: int
    names: tuple[str, ...]


def blocks(path: Path) -> Iterator[bytes]:
    """Iterate a file's bytes."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def survey(path: Path) -> Survey:
    """Read the whole file once, in constant memory.

    Raises:
        Refused: empty, not text, not UTF-8, or with NUL bytes; says line and byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    offset = line_feeds = windows_ends = 0
    last = b""
    bom = False
    for block in blocks(path):
        if not offset:
            _refuse_foreign(block)
            bom = block.startswith(codecs.BOM_UTF8)
        _refuse_nul(block, offset, line_feeds)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            raise _undecodable(error, block, offset - pending, pending, line_feeds) from error
        line_feeds += block.count(b"\n")
        windows_ends += block.count(b"\r\n") + (last == b"\r" and block.startswith(b"\n"))
        last = block[-1:]
        offset += len(block)
    if not offset:
        raise Refused("the file is empty", code="empty_file")
    if decoder.getstate()[0]:
        raise Refused(
            "the file ends in the middle of a UTF-8 character",
            code="undecodable_text",
            hint="the file looks cut off; upload it again",
            loc=(f"line {line_feeds + 1}",),
        )
    return Survey(bom, line_feeds, windows_ends)


def _refuse_foreign(head: bytes) -> None:
    for magic, what, hint in _FOREIGN:
        if head.startswith(magic):
            raise Refused(f"this is not CSV but {what}", code="wrong_format", hint=hint)


def _refuse_nul(block: bytes, offset: int, line_feeds: int) -> None:
    at = block.find(b"\0")
    if at >= 0:
        line = line_feeds + block.count(b"\n", 0, at) + 1
        raise Refused(
            f"line {line} holds a NUL byte, at byte {offset + at}: this is not text",
            code="nul_byte",
            hint="export the data as CSV text in UTF-8",
            loc=(f"line {line}",),
        )


def _undecodable(
    error: UnicodeDecodeError, block: bytes, start: int, pending: int, line_feeds: int
) -> Refused:
    at = error.start - pending
    line = line_feeds + block.count(b"\n", 0, max(at, 0)) + 1
    byte = error.object[error.start]
    return Refused(
        f"line {line} is not UTF-8: byte 0x{byte:02x} at byte {start + error.start}",
        code="undecodable_text",
        hint="if it is Latin-1 or Windows-1252, convert it: iconv -f WINDOWS-1252 -t UTF-8",
        loc=(f"line {line}",),
    )


def unify_line_ends(source: Path, target: Path) -> None:
    """Copy a file with every CR LF made LF."""
    held = b""
    with target.open("wb") as out:
        for read in blocks(source):
            block = held + read
            held = b"\r" if block.endswith(b"\r") else b""
            out.write(block.removesuffix(b"\r").replace(b"\r\n", b"\n"))
        out.write(held)


def layout(path: Path, max_columns: int, max_value_bytes: int) -> Layout:
    """Find delimiter and header from the start of the file.

    Raises:
        Refused: names that are empty, double, unprintable or too long; too many columns.
    """
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES + max_value_bytes)
    text = head.decode("utf-8", errors="ignore").removeprefix("\ufeff")
    body = text.lstrip("\r\n")
    if not body:
        raise Refused("the file holds only blank lines", code="empty_file")
    skip = len(text[: len(text) - len(body)].splitlines())
    delimiter = find_delimiter(body)
    names = tuple(name.strip() for name in _records(body, delimiter, 1)[0])
    check_names(names, max_columns, where=f"line {skip + 1}")
    return Layout(delimiter, skip, names)


def find_delimiter(text: str) -> str:
    """Return the delimiter that cuts most records to the header's width; comma if none cuts.

    More columns break a tie, then the order of :data:`DELIMITERS`.
    """
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        records = [record for record in _records(text, delimiter, SAMPLE_RECORDS) if record]
        width = len(records[0]) if records else 0
        if width < 2:  # noqa: PLR2004 - it cuts nothing
            continue
        share = sum(len(record) == width for record in records) / len(records)
        if (share, width) > best_score:
            best, best_score = delimiter, (share, width)
    return best


def _records(text: str, delimiter: str, count: int) -> list[list[str]]:
    sample = text[:SAMPLE_BYTES] if count > 1 else text
    csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    records: list[list[str]] = []
    for record in reader:
        records.append(record)
        if len(records) == count:
            return records
    # The last record of a cut sample may be half a record.
    return records[:-1] if len(sample) < len(text) and len(records) > 1 else records


def check_names(names: Sequence[str], max_columns: int, *, where: str) -> None:
    """Refuse column names nothing downstream could tell apart or print.

    Raises:
        Refused: says which.
    """
    if len(names) > max_columns:
        raise Refused(
            f"{counted(len(names), 'column')}, at most {max_columns:,} are allowed",
            kind="too_large",
            code="too_many_columns",
            loc=(where,),
        )
    empty = [index for index, name in enumerate(names, 1) if not name]
    if empty:
        raise Refused(
            f"the header has no name for column {empty[0]} of {len(names)}",
            code="empty_column_name",
            hint="name every column; pandas writes a nameless index unless told index=False",
            loc=(where,),
        )
    _refuse_twins(names, where)
    for name in names:
        if len(name) > MAX_NAME or not name.isprintable():
            raise Refused(
                f"column name {shown(name)} is too long or not printable",
                code="bad_column_name",
                hint=f"use printable names of at most {MAX_NAME} characters",
                loc=(where,),
            )


def _refuse_twins(names: Sequence[str], where: str) -> None:
    exact = [name for name, count in Counter(names).items() if count > 1]
    if exact:
        raise Refused(
            f"the header names {', '.join(map(shown, exact[:10]))} more than once",
            code="duplicate_columns",
            hint="give every column its own name",
            loc=(where,),
        )
    folded: dict[str, str] = {}
    for name in names:
        twin = folded.setdefault(name.casefold(), name)
        if twin != name:
            raise Refused(
                f"columns {shown(twin)} and {shown(name)} differ only in case",
                code="duplicate_columns",
                hint="rename one of them; the tools that read Parquet ignore case in names",
                loc=(where,),
            )
