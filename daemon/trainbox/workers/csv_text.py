"""The text of a CSV file before any parser sees it: encoding, line ends, delimiter, header."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbox.workers.refusal import Fault, Faults, Refused, counted, shown

BLOCK = 1024**2
SAMPLE_BYTES = 256 * 1024
SAMPLE_RECORDS = 50
DELIMITERS = (",", ";", "\t", "|")
MAX_NAME = 256

_FOREIGN = (
    (b"PAR1", "a Parquet file", "send it with format=parquet"),
    (b"ARROW1", "an Arrow file", "send it with format=arrow"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "export the sheet as CSV"),
)


@dataclass(frozen=True)
class Survey:
    """What one pass over the bytes found.

    Attributes:
        bom: whether a UTF-8 byte order mark leads.
        line_feeds: number of LF, those of CR LF included.
        windows_ends: number of CR LF.
        broken: whether there are NUL bytes or some that are not UTF-8.
    """

    bom: bool
    line_feeds: int
    windows_ends: int
    broken: bool

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
        faults: what is wrong with the header.
    """

    delimiter: str
    skip: int
    names: tuple[str, ...]
    faults: tuple[Fault, ...] = ()


def blocks(path: Path) -> Iterator[bytes]:
    """Iterate a file's bytes."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def survey(path: Path, what: str = "CSV") -> Survey:
    """Read the whole file once, in constant memory.

    Raises:
        Refused: empty, or of another kind than ``what``.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    line_feeds = windows_ends = 0
    last = b""
    bom = broken = False
    for block in blocks(path):
        if not last:
            refuse_foreign(block, what)
            bom = block.startswith(codecs.BOM_UTF8)
        broken = broken or b"\0" in block or not _decodes(decoder, block)
        line_feeds += block.count(b"\n")
        windows_ends += block.count(b"\r\n") + (last == b"\r" and block.startswith(b"\n"))
        last = block[-1:]
    if not last:
        raise Refused("the file is empty", code="empty_file")
    return Survey(bom, line_feeds, windows_ends, broken or bool(decoder.getstate()[0]))


def refuse_foreign(head: bytes, what: str) -> None:
    """Refuse a file whose first bytes say that it is no text.

    Raises:
        Refused: says what it is instead of ``what``.
    """
    for magic, found, hint in _FOREIGN:
        if head.startswith(magic):
            raise Refused(f"this is not {what} but {found}", code="wrong_format", hint=hint)


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes) -> bool:
    try:
        decoder.decode(block)
    except UnicodeDecodeError:
        return False
    return True


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
        Refused: nothing but blank lines, or too many columns.
    """
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES + max_value_bytes)
    text = head.decode("utf-8", errors="replace").removeprefix("\ufeff")
    body = text.lstrip("\r\n")
    if not body:
        raise Refused("the file holds only blank lines", code="empty_file")
    skip = len(text[: len(text) - len(body)].splitlines())
    delimiter = find_delimiter(body)
    names = tuple(name.strip() for name in _records(body, delimiter, 1)[0])
    faults = header_faults(names, max_columns, line=skip + 1)
    return Layout(delimiter, skip, names, tuple(faults.found))


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


def header_faults(names: Sequence[str], max_columns: int, *, line: int | None) -> Faults:
    """Find column names that nothing downstream could tell apart or print.

    Raises:
        Refused: there are too many columns.
    """
    if len(names) > max_columns:
        raise Refused(
            f"{counted(len(names), 'column')}, at most {max_columns:,} are allowed",
            kind="too_large",
            code="too_many_columns",
            line=line,
        )
    faults = Faults()
    exact = Counter(names)
    folded: dict[str, str] = {}
    for index, name in enumerate(names, 1):
        if not name:
            what = f"the header has no name for column {index} of {len(names)}"
            hint = "name every column; pandas writes a nameless index unless told index=False"
            faults.add("empty_header", what, hint, line=line)
        elif not _usable(name):
            what, hint, rule = _unusable(name)
            faults.add(rule, what, hint, line=line, column=name[:MAX_NAME])
        elif exact[name] > 1:
            if names.index(name) != index - 1:
                what = f"the header names {shown(name)} more than once"
                hint = "give every column its own name"
                faults.add("duplicate_header", what, hint, line=line, column=name)
        elif (twin := folded.setdefault(name.casefold(), name)) != name:
            what = f"columns {shown(twin)} and {shown(name)} differ only in case"
            hint = "rename one of them; the tools that read Parquet ignore case in names"
            faults.add("duplicate_header", what, hint, line=line, column=name)
    return faults


def check_names(names: Sequence[str], max_columns: int) -> None:
    """Likewise, for formats whose header is no line.

    Raises:
        Refused: says which.
    """
    faults = header_faults(names, max_columns, line=None)
    if faults.found:
        raise faults.refusal()


def _usable(name: str) -> bool:
    return len(name) <= MAX_NAME and name.isprintable() and "\ufffd" not in name


def _unusable(name: str) -> tuple[str, str, str]:
    """Return what is wrong with a name, how to mend it, and the rule."""
    if "\0" in name:
        return "a NUL byte: this is not text", "export the data as CSV text in UTF-8", "nul_byte"
    if "\ufffd" in name:
        return "a column name that is not UTF-8", "convert the file: iconv -t UTF-8", "bad_utf8"
    what = f"the column name {shown(name)} is too long or not printable"
    return what, f"use printable names of at most {MAX_NAME} characters", "bad_header"
