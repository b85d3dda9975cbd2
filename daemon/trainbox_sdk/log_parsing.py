"""From printed bytes to lines fit to be shown, and the choice among them. Pure functions.

Bytes at rest stay as they came; here, what a terminal or a browser would obey is taken out.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate

from trainbox_guest.shim.log_times import STREAMS, Piece
from trainbox_sdk.job_logs import LogFilter, LogLevel, LogLine, LogPage
from trainbox_sdk.log_levels import levels_of

MAX_LINE_BYTES = 16 * 1024
CUT = " […]"

_C0 = bytes(code for code in (*range(32), 127) if code not in b"\t\n")
_ESCAPE = re.compile(
    # ECMA-48: control sequences, then strings up to their terminator, then two-character escapes.
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*+[0-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TRICKY = re.compile("[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What turns the direction of text, and Unicode's own line breaks."""
_TRICKY_LEADS = (b"\xd8\x9c", b"\xe2\x80", b"\xe2\x81")


@dataclass(frozen=True)
class ParsedPart:
    """Consecutive whole lines of one attempt's log.

    Attributes:
        text: fit to be shown, as many lines as the bytes had, each with its line feed.
        ranks: of each line.
        begin: where in the log the first line begins.
        ends: after which byte of the log each line ends, its line feed included.
    """

    text: str
    ranks: bytes
    begin: int
    ends: array[int]

    @property
    def cost(self) -> int:
        """About how many bytes of memory it takes."""
        wide = 1 if self.text.isascii() else 4
        return len(self.text) * wide + len(self.ranks) * 9


@dataclass(frozen=True)
class AttemptLog:
    """What one attempt printed.

    Attributes:
        number: of the attempt within its step.
        parts: its lines.
        pieces: when what came.
    """

    number: int
    parts: Sequence[ParsedPart]
    pieces: Sequence[Piece] = ()


def parse(data: bytes, begin: int = 0) -> ParsedPart:
    """Return the lines of part of a log; a last one without a line feed counts.

    Args:
        data: the bytes, from the beginning of a line on.
        begin: where in the log they begin.
    """
    text = shown(data)
    if data and not data.endswith(b"\n"):
        text += "\n"  # what is shown of the last line may be empty, and it is a line still
    lines = _lines(text)
    lengths = (len(line) + 1 for line in _raw_lines(data))
    ends = array("Q", accumulate(lengths, initial=begin))
    return ParsedPart(text, bytes(levels_of(lines, text)), begin, ends[1:])


def shown(data: bytes) -> str:
    """Return text in which nothing is obeyed, of as many lines as the bytes.

    Of a line that was written over and over (carriage returns, as progress bars do) the last
    state is kept.
    """
    text = data.decode("utf-8", "replace")
    wide = not text.isascii()
    if len(data.translate(None, _C0)) != len(data) or (wide and b"\xc2" in data):
        text = _ESCAPE.sub("", text)
        if "\r" in text:
            text = "\n".join(_last_state(line) for line in text.split("\n"))
        text = _CONTROL.sub("", text)
    if wide and any(lead in data for lead in _TRICKY_LEADS):
        text = _TRICKY.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text


def choose(logs: Sequence[AttemptLog], which: LogFilter) -> LogPage:
    """Return the lines that a filter lets through.

    Args:
        logs: of a job's attempts, in their order.
        which: the filter.
    """
    parts = [(log, part) for log in logs for part in log.parts]
    found = [_matching(part, which) for _, part in parts]
    matching = sum(map(len, found))
    first, last = _window(which, matching)
    lines: list[LogLine] = []
    before = total = 0
    for (log, part), places in zip(parts, found, strict=True):
        wanted = places[max(0, first - before) : max(0, last - before)]
        if wanted:
            lines += _told(log, part, wanted, total)
        before += len(places)
        total += len(part.ranks)
    return LogPage(tuple(lines), matching, total)


def _window(which: LogFilter, matching: int) -> tuple[int, int]:
    if which.tail:
        last = max(0, matching - which.offset)
        return max(0, last - which.limit), last
    return which.offset, which.offset + which.limit


def _matching(part: ParsedPart, which: LogFilter) -> Sequence[int]:
    """Return the places of the lines that match."""
    rank, text = which.level.rank, which.text.lower()
    if text:
        low = part.text.lower()
        if text not in low:
            return ()
        lines = enumerate(_lines(low))
        return [at for at, line in lines if text in line and part.ranks[at] >= rank]
    if rank == 0:
        return range(len(part.ranks))
    return [at for at, found in enumerate(part.ranks) if found >= rank]


def _told(
    log: AttemptLog, part: ParsedPart, places: Sequence[int], before: int
) -> Iterator[LogLine]:
    lines, levels = _lines(part.text), list(LogLevel)
    for place in places:
        begin = part.ends[place - 1] if place else part.begin
        at = bisect_right(log.pieces, begin, key=_offset) - 1
        piece = log.pieces[at] if at >= 0 else None
        yield LogLine(
            number=before + place + 1,
            level=levels[part.ranks[place]],
            message=_cut(lines[place]),
            at=_moment(piece),
            stream=STREAMS.get(piece.stream, "") if piece else "",
            attempt=log.number,
        )


def _offset(piece: Piece) -> int:
    return piece.offset


def _moment(piece: Piece | None) -> datetime | None:
    """Return a time to the tenth of a second; None for one that cannot be."""
    if piece is None:
        return None
    try:
        return datetime.fromtimestamp(piece.at_ms // 100 / 10, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _cut(line: str) -> str:
    if len(line) * 4 <= MAX_LINE_BYTES:
        return line
    raw = line.encode()
    if len(raw) <= MAX_LINE_BYTES:
        return line
    return raw[: MAX_LINE_BYTES - len(CUT.encode())].decode("utf-8", "ignore") + CUT


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2] if "\r" in line else line


def _lines(text: str) -> list[str]:
    return text.split("\n")[:-1]


def _raw_lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines
