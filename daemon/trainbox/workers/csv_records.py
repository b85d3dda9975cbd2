"""A CSV file cut into records by hand, broken ones included: slow, and only for files with faults.

DuckDB reads the good files. This reads on after a fault, where a parser made for good files stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

QUOTE = b'"'
BLOCK = 1024**2

Trouble = Literal["", "unclosed_quote", "text_after_quote", "record_too_large"]


@dataclass(frozen=True)
class Record:
    """One record.

    Attributes:
        line: on which it starts, from 1.
        fields: its values, quotes taken off; of one in trouble, those before the trouble.
        quoted: which of them were quoted.
        trouble: why it could not be cut into fields.
        rest: the start of what could not be.
        stray_end: index of the first field with a carriage return outside quotes.
    """

    line: int
    fields: list[bytes]
    quoted: list[bool] = field(default_factory=list)
    trouble: Trouble = ""
    rest: bytes = b""
    stray_end: int | None = None

    @property
    def blank(self) -> bool:
        """Whether the line is empty."""
        return not self.trouble and self.fields == [b""] and not any(self.quoted)


class Records:
    """Iterates the records of a file.

    Args:
        path: the file, in UTF-8 or what should be.
        delimiter: one byte.
        max_bytes: of a record; a longer one is in trouble, and reading goes on behind its first
            line.
    """

    def __init__(self, path: Path, delimiter: str, max_bytes: int) -> None:
        self._delimiter = delimiter.encode()
        self._max_bytes = max_bytes
        self._lines = _Lines(path, max_bytes)

    def __iter__(self) -> Iterator[Record]:
        """Iterate them all, the header too."""
        for line, text in self._lines:
            if len(text) > self._max_bytes:
                yield Record(line, [], trouble="record_too_large", rest=text[:80])
            elif QUOTE in text:
                yield self._quoted(line, text)
            else:
                fields = _without_end(text).split(self._delimiter)
                yield Record(line, fields, [False] * len(fields), stray_end=_stray(fields))

    def _quoted(self, line: int, first: bytes) -> Record:
        """Cut a record with quotes, taking in further lines while one is open."""
        scan = _Scan(self._delimiter, bytearray(first))
        taken: list[tuple[int, bytes]] = []
        while (state := scan.run()) == "open":
            following = self._lines.take()
            if following is None or len(scan.text) + len(following[1]) > self._max_bytes:
                if following is not None:
                    taken.append(following)
                self._lines.put_back(taken)
                return scan.broken(line, "unclosed_quote")
            taken.append(following)
            scan.text += following[1]
        if state == "bad":
            # Over several lines it is far likelier that an earlier quote was never closed.
            self._lines.put_back(taken)
            return scan.broken(line, "unclosed_quote" if taken else "text_after_quote")
        return Record(line, scan.fields, scan.quoted, stray_end=scan.stray)


class _Scan:
    """Cuts the text of one record into fields; may be run again once there is more text."""

    def __init__(self, delimiter: bytes, text: bytearray) -> None:
        self.text = text
        self.fields: list[bytes] = []
        self.quoted: list[bool] = []
        self.stray: int | None = None
        self._delimiter = delimiter
        self._at = 0
        self._searched = 0

    def run(self) -> Literal["done", "open", "bad"]:
        """Go on as far as there is text."""
        while True:
            start = self._at
            if self.text[start : start + 1] == QUOTE:
                end = self._closing()
                if end < 0:
                    return "open"
                after = bytes(self.text[end + 1 : end + 4])
                ended = not _without_end(after)
                if not ended and after[:1] != self._delimiter:
                    return "bad"
                self.fields.append(bytes(self.text[start + 1 : end]).replace(b'""', b'"'))
                self.quoted.append(True)
                self._at = end + 2
                if ended:
                    return "done"
            elif self._plain():
                return "done"

    def _plain(self) -> bool:
        """Cut one unquoted field; return whether it was the last."""
        end = self.text.find(self._delimiter, self._at)
        last = end < 0
        value = bytes(self.text[self._at :] if last else self.text[self._at : end])
        value = _without_end(value) if last else value
        if b"\r" in value and self.stray is None:
            self.stray = len(self.fields)
        self.fields.append(value)
        self.quoted.append(False)
        self._at = end + 1
        return last

    def _closing(self) -> int:
        """Return where the quote at hand closes, or -1 if the text ends first."""
        start = max(self._at + 1, self._searched)
        while True:
            end = self.text.find(QUOTE, start)
            if end < 0:
                self._searched = len(self.text)
                return -1
            if self.text[end + 1 : end + 2] != QUOTE:
                self._searched = 0
                return end
            start = end + 2

    def broken(self, line: int, trouble: Trouble) -> Record:
        """Return the record as far as it could be cut."""
        rest = bytes(self.text[self._at : self._at + 80]).partition(b"\n")[0]
        return Record(line, self.fields, self.quoted, trouble, rest)


class _Lines:
    """Numbered lines with their ends; LF ends one, or CR in a file without LF."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._source = _numbered(path, max_bytes)
        self._back: deque[tuple[int, bytes]] = deque()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while (line := self.take()) is not None:
            yield line

    def take(self) -> tuple[int, bytes] | None:
        """Return the next line, None at the end."""
        if self._back:
            return self._back.popleft()
        return next(self._source, None)

    def put_back(self, lines: list[tuple[int, bytes]]) -> None:
        """Have lines come again."""
        self._back.extendleft(reversed(lines))


def _numbered(path: Path, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Iterate lines; of one too long only its start, one byte more than ``max_bytes`` allows."""
    end = b"\n" if _has_line_feed(path) else b"\r"
    held = bytearray()
    number = 1
    skipping = False
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        while block := file.read(BLOCK):
            pieces = block.split(end)
            for piece in pieces[:-1]:
                if not skipping:
                    held += piece + end
                    yield number, bytes(held)
                held.clear()
                skipping = False
                number += 1
            held += b"" if skipping else pieces[-1]
            if len(held) > max_bytes:
                yield number, bytes(held[: max_bytes + 1])
                held.clear()
                skipping = True
    if held:
        yield number, bytes(held)


def _has_line_feed(path: Path) -> bool:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            if b"\n" in block:
                return True
    return False


def _without_end(text: bytes) -> bytes:
    if text.endswith(b"\r\n"):
        return text[:-2]
    return text[:-1] if text.endswith((b"\n", b"\r")) else text


def _stray(fields: list[bytes]) -> int | None:
    return next((at for at, value in enumerate(fields) if b"\r" in value), None)
