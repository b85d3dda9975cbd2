"""A log file with a size limit: its beginning and its end are kept, the middle is counted."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

from trainbox_guest.shim.log_rate import LogRate, RateGate
from trainbox_guest.shim.log_times import UNKNOWN, TimesWriter

if TYPE_CHECKING:
    from pathlib import Path

_MARKER = b"\n[trainbox: %d bytes of output left out here]\n"
_MARKER_ROOM = 80
_SEGMENT_BYTES = 64 * 1024
_SEGMENT_S = 0.1
_MOST_SEGMENTS = 20_000
"""Beyond this, pieces of the remembered end share a segment, and so a time and no stream."""


class _Segment:
    """Consecutive output of one stream and one moment."""

    def __init__(self, data: bytes, stream: int, at: float) -> None:
        self.data = bytearray(data)
        self.stream = stream
        self.at = at


class CappedLog:
    """Writes output as it comes until half of the limit, then remembers only the newest rest.

    Belongs to one thread. Whoever watches a sandbox owns the file; nothing inside can reach it.
    When what came is noted beside it (:mod:`trainbox_guest.shim.log_times`).

    Args:
        path: written from its beginning.
        limit_bytes: largest size of the finished file.
        rate: how fast output may come; None for any.
    """

    def __init__(self, path: str | Path, limit_bytes: int, rate: LogRate | None = None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o640)
        self._times = TimesWriter(os.fspath(path))
        self._gate = None if rate is None else RateGate(rate)
        self._written = 0
        self._head_room = limit_bytes // 2
        self._tail_limit = max(0, limit_bytes - limit_bytes // 2 - _MARKER_ROOM)
        self._segment_bytes = min(_SEGMENT_BYTES, self._tail_limit // 4)
        self._tail: deque[_Segment] = deque()
        self._tail_bytes = 0
        self._dropped = 0
        self._latest = (UNKNOWN, 0.0)
        self.seen = 0
        """Bytes given to :meth:`append` so far."""

    @property
    def whole(self) -> bool:
        """Whether everything seen is in the file."""
        return not self._tail and not self._dropped and not self._gate_dropped

    @property
    def _gate_dropped(self) -> bool:
        return self._gate is not None and self._gate.dropped

    def append(self, data: bytes, stream: int = UNKNOWN, at: float | None = None) -> None:
        """Take the next piece of output.

        Args:
            data: its bytes.
            stream: of :mod:`trainbox_guest.shim.log_times`.
            at: when it came, in seconds since the epoch; None for now.
        """
        self.seen += len(data)
        at = time.time() if at is None else at
        if self._gate is not None:
            data = self._gate.through(data, at)
        if data:
            self._put(data, stream, at)

    def close(self, *, durable: bool = False) -> None:
        """Write the marker and the remembered end, and sync if asked; harmless twice."""
        if self._fd < 0:
            return
        try:
            self._put_last_words()
            self._write_end()
            if durable:
                os.fsync(self._fd)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is; harmless twice."""
        self._times.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _put(self, data: bytes, stream: int, at: float) -> None:
        self._latest = (stream, at)
        head, rest = data[: self._head_room], data[self._head_room :]
        if head:
            self._write(head, stream, at)
            self._head_room -= len(head)
        if rest:
            self._remember(rest, stream, at)

    def _put_last_words(self) -> None:
        if self._gate is not None and (words := self._gate.end()):
            self._put(words, *self._latest)

    def _write_end(self) -> None:
        excess = max(0, self._tail_bytes - self._tail_limit)
        self._dropped += excess
        if self._dropped:
            _, at = self._latest
            self._write(_MARKER % self._dropped, UNKNOWN, self._tail[0].at if self._tail else at)
        for segment in self._tail:
            kept = segment.data[excess:]
            excess = max(0, excess - len(segment.data))
            if kept:
                self._write(kept, segment.stream, segment.at)

    def _write(self, data: bytes | bytearray, stream: int, at: float) -> None:
        _write_all(self._fd, data)
        self._times.note(self._written, at, stream)  # after it: a log that fails leaves no times
        self._written += len(data)

    def _remember(self, data: bytes, stream: int, at: float) -> None:
        last = self._tail[-1] if self._tail else None
        crowded = len(self._tail) >= _MOST_SEGMENTS
        if (
            last is not None
            and len(last.data) < self._segment_bytes
            and (crowded or (last.stream == stream and 0 <= at - last.at < _SEGMENT_S))
        ):
            last.stream = stream if last.stream == stream else UNKNOWN
            last.data += data
        else:
            self._tail.append(_Segment(data, stream, at))
        self._tail_bytes += len(data)
        while self._tail and self._tail_bytes - len(self._tail[0].data) >= self._tail_limit:
            gone = len(self._tail.popleft().data)
            self._tail_bytes -= gone
            self._dropped += gone


def _write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
