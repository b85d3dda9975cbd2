"""Every fault of a CSV file, with row, line and column: a second, slow look at files that have one.

A fault never hides the next: reading goes on behind it, until there are :data:`MAX_FAULTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbox.workers.csv_records import Record, Records
from trainbox.workers.refusal import Fault, Faults, counted
from trainbox.workers.text_rules import Expected

_ENCODING = "if it is Latin-1 or Windows-1252, convert it: iconv -f WINDOWS-1252 -t UTF-8"
_QUOTES = 'write a quote inside a quoted value twice: "5"" pipe"'


@dataclass(frozen=True)
class Sieve:
    """What values must be.

    Attributes:
        names: of the columns.
        delimiter: between them.
        max_value_bytes, max_record_bytes: limits.
        expected: by column, what the uploader said its values are.
    """

    names: Sequence[str]
    delimiter: str
    max_value_bytes: int
    max_record_bytes: int
    expected: Mapping[str, Expected]


def find_faults(path: Path, sieve: Sieve, known: Sequence[Fault] = ()) -> Faults:
    """Read the file and return its faults, in the order of the rows, behind those ``known``."""
    inspection = _Inspection(sieve)
    inspection.faults.found.extend(known)
    header = False
    row = 0
    for record in Records(path, sieve.delimiter, sieve.max_record_bytes):
        if record.blank and (not header or len(sieve.names) > 1):
            continue
        if not header:
            header = True
            continue
        row += 1
        inspection.look(row, record)
        if inspection.faults.full:
            break
    return inspection.faults


class _Inspection:
    def __init__(self, sieve: Sieve) -> None:
        self.faults = Faults()
        self._sieve = sieve
        self._typed = [
            (index, name, sieve.expected[name])
            for index, name in enumerate(sieve.names)
            if name in sieve.expected
        ]

    def look(self, row: int, record: Record) -> None:
        """Note what is wrong with one record."""
        if record.trouble:
            self._trouble(row, record)
        elif len(record.fields) != len(self._sieve.names):
            self._ragged(row, record)
        raw = b"".join(record.fields)
        if b"\0" in raw or not _decodes(raw):
            self._characters(row, record)
        if record.stray_end is not None:
            self._note(
                "stray_carriage_return",
                "a carriage return that does not end the line",
                "quote values that contain line breaks, and end every line the same way",
                (row, record, record.stray_end),
            )
        if len(raw) > self._sieve.max_value_bytes:
            self._sizes(row, record)
        if self._typed and not record.trouble:
            self._types(row, record)

    def _note(self, rule: str, what: str, hint: str, at: tuple[int, Record, int]) -> None:
        row, record, index = at
        name = self._sieve.names[index] if index < len(self._sieve.names) else None
        value = record.fields[index] if index < len(record.fields) else record.rest
        self.faults.add(
            rule,
            what,
            hint,
            row=row,
            line=record.line,
            column=name,
            value=value.decode("utf-8", "backslashreplace"),
        )

    def _trouble(self, row: int, record: Record) -> None:
        at = (row, record, len(record.fields))
        if record.trouble == "unclosed_quote":
            what = "a quote is opened and never closed"
            self._note(record.trouble, what, f"close it, or {_QUOTES}", at)
        elif record.trouble == "text_after_quote":
            self._note(record.trouble, "text follows the closing quote of a value", _QUOTES, at)
        else:
            self.faults.add(
                record.trouble,
                f"a record of more than {self._sieve.max_record_bytes:,} bytes",
                "a lost line end makes one record of all that follows",
                row=row,
                line=record.line,
            )

    def _ragged(self, row: int, record: Record) -> None:
        has, wants = len(record.fields), len(self._sieve.names)
        what = f"{counted(has, 'field')}, the header has {counted(wants, 'column')}"
        cut = self._sieve.delimiter
        hint = f'quote values that contain the delimiter {cut!r}: "a{cut}b"'
        if has < wants:
            first = record.fields[-1].decode("utf-8", "backslashreplace")
            self.faults.add(
                "ragged_row",
                f"{what}: this is the first without one",
                f"write every column; a value that is missing is nothing between two {cut!r}",
                row=row,
                line=record.line,
                column=self._sieve.names[has],
                value=None if not has else f"…{first[-40:]}",
            )
        else:
            surplus = record.fields[wants].decode("utf-8", "backslashreplace")
            self.faults.add(
                "ragged_row",
                f"{what}: what follows this column is one too many",
                hint if surplus else f"take away the last {cut!r}",
                row=row,
                line=record.line,
                column=self._sieve.names[-1],
                value=surplus,
            )

    def _characters(self, row: int, record: Record) -> None:
        for index, value in enumerate(record.fields):
            if b"\0" in value:
                hint = "export the data as CSV text in UTF-8"
                self._note("nul_byte", "a NUL byte: this is not text", hint, (row, record, index))
            try:
                value.decode()
            except UnicodeDecodeError as error:
                byte = value[error.start]
                what = f"not UTF-8: byte 0x{byte:02x}"
                cut = "unexpected end" in error.reason and len(record.fields) == index + 1
                hint = "the file may be cut off; upload it again" if cut else _ENCODING
                self._note("bad_utf8", what, hint, (row, record, index))

    def _sizes(self, row: int, record: Record) -> None:
        for index, value in enumerate(record.fields):
            if len(value) > self._sieve.max_value_bytes:
                most = f"at most {self._sieve.max_value_bytes:,} are allowed"
                what = f"a value of {counted(len(value), 'byte')}, {most}"
                hint = "a quote that is never closed makes one value of all that follows"
                self._note("value_too_large", what, hint, (row, record, index))

    def _types(self, row: int, record: Record) -> None:
        for index, _, expected in self._typed:
            if index >= len(record.fields):
                continue
            text = record.fields[index].decode("utf-8", "replace")
            problem = expected.problem(text)
            if problem is not None:
                self._note(*problem, (row, record, index))


def _decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
