"""A log file with a size limit: its beginning and its end are kept, the middle is counted."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MARKER = b"\n[trainbox: %d bytes of output left out here]\n"
_MARKER_ROOM = 80


class CappedLog:
    """Writes output as it comes until half of the limit, then remembers only the newest rest.

    Belongs to one thread. Whoever watches a sandbox owns the file; nothing inside can reach it.

    Args:
        path: written from its beginning.
        limit_bytes: largest size of the finished file.
    """

    def __init__(self, path: str | Path, limit_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o640)
        self._head_room = limit_bytes // 2
        self._tail_limit = max(0, limit_bytes - limit_bytes // 2 - _MARKER_ROOM)
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped = 0
        self.seen = 0
        """Bytes given to :meth:`append` so far."""

    @property
    def whole(self) -> bool:
        """Whether everything seen is in the file."""
        return not self._tail and not self._dropped

    def append(self, data: bytes) -> None:
        """Take the next piece of output."""
        self.seen += len(data)
        head, rest = data[: self._head_room], data[self._head_room :]
        if head:
            _write_all(self._fd, head)
            self._head_room -= len(head)
        if rest:
            self._remember(rest)

    def close(self, *, durable: bool = False) -> None:
        """Write the marker and the remembered end, and sync if asked; harmless twice."""
        if self._fd < 0:
            return
        tail = b"".join(self._tail)
        excess = max(0, len(tail) - self._tail_limit)
        self._dropped += excess
        try:
            if self._dropped:
                _write_all(self._fd, _MARKER % self._dropped)
            _write_all(self._fd, tail[excess:])
            if durable:
                os.fsync(self._fd)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is; harmless twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _remember(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            gone = self._tail.popleft()
            self._tail_bytes -= len(gone)
            self._dropped += len(gone)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
