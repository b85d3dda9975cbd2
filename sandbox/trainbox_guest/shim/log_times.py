"""When each piece of a log came, and on which stream: a small file beside the log.

One entry per piece of up to a tenth of a second, or where the stream changes: the place in the log
at which the piece begins, milliseconds since the epoch, and the stream. An entry holds until the
next one begins. The log alone is complete; without this file its lines merely have no times.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

SUFFIX = ".times"
"""Added to the name of the log."""

UNKNOWN, STDOUT, STDERR = 0, 1, 2
STREAMS = {UNKNOWN: "", STDOUT: "stdout", STDERR: "stderr"}

_ENTRY = struct.Struct("<QqB")
_GRAIN_S = 0.1
_FINE_ENTRIES = 50_000
_COARSE_S = 10.0
"""After so many entries they become this coarse and stop telling the streams apart: a log of
alternating short lines must not cost more beside it than in it."""


class Piece(NamedTuple):
    """Part of a log that came at one time.

    Attributes:
        offset: its first byte's place in the log.
        at_ms: milliseconds since the epoch.
        stream: :data:`STDOUT`, :data:`STDERR` or :data:`UNKNOWN`.
    """

    offset: int
    at_ms: int
    stream: int


class TimesWriter:
    """Writes the entries of one log. A disk that takes no more costs the rest of them, no more.

    Args:
        log: path of the log; the file is made beside it at the first entry.
    """

    def __init__(self, log: str) -> None:
        self._path = log + SUFFIX
        self._fd: int | None = None
        self._entries = 0
        self._last: Piece | None = None
        self._over = False

    def note(self, offset: int, at: float, stream: int) -> None:
        """Say that what begins at an offset came at a time, in seconds since the epoch."""
        fine = self._entries < _FINE_ENTRIES
        stream = stream if fine else UNKNOWN
        if self._last is not None and not self._over:
            new_stream = fine and stream != self._last.stream
            waited = at * 1000 - self._last.at_ms >= (_GRAIN_S if fine else _COARSE_S) * 1000
            if not new_stream and not waited:
                return
        if not self._over:
            self._write(Piece(offset, int(at * 1000), stream))

    def close(self) -> None:
        """Let go of the file; harmless twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._over = True

    def _write(self, piece: Piece) -> None:
        try:
            if self._fd is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o640)
            os.write(self._fd, _ENTRY.pack(*piece))
        except OSError:
            self.close()
            return
        self._entries += 1
        self._last = piece


def parse(data: bytes) -> list[Piece]:
    """Return the entries of a file; a last one that is not whole is left out."""
    whole = len(data) - len(data) % _ENTRY.size
    return [Piece(*entry) for entry in _ENTRY.iter_unpack(data[:whole])]
