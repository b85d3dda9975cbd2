"""The step's stdout and stderr: a pipe in, a file with a size limit out."""

from __future__ import annotations

import os
from collections import deque

_MARKER = b"\n[trainbox: %d bytes of output left out here]\n"
_MARKER_ROOM = 80
_CHUNK = 256 * 1024


class Output:
    """Copies a pipe into a file until half of the limit, then remembers only the newest rest.

    Args:
        path: written from its beginning.
        limit_bytes: largest size of the finished file.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o640)
        self.pipe, self.write_end = os.pipe()
        os.set_blocking(self.pipe, False)
        self._head_room = limit_bytes // 2
        self._tail_limit = max(0, limit_bytes - limit_bytes // 2 - _MARKER_ROOM)
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped = 0
        self.seen = 0
        """Bytes read so far."""

    def started(self) -> None:
        """Close our copy of the write end, so that the last writer's death ends the pipe."""
        os.close(self.write_end)

    def pump(self) -> bool:
        """Take what is there now; False once every writer is gone."""
        try:
            data = os.read(self.pipe, _CHUNK)
        except BlockingIOError:
            return True
        self._keep(data)
        return bool(data)

    def finish(self) -> None:
        """Take the rest, write the end of the file and make it durable."""
        while self.pump() and self._waiting():
            pass
        tail = b"".join(self._tail)
        excess = max(0, len(tail) - self._tail_limit)
        self._dropped += excess
        if self._dropped:
            _write_all(self._file, _MARKER % self._dropped)
        _write_all(self._file, tail[excess:])
        os.fsync(self._file)
        os.close(self._file)

    def _waiting(self) -> bool:
        try:
            data = os.read(self.pipe, _CHUNK)
        except BlockingIOError:  # nobody writes, yet somebody holds the pipe open: not our problem
            return False
        self._keep(data)
        return bool(data)

    def _keep(self, data: bytes) -> None:
        self.seen += len(data)
        head, rest = data[: self._head_room], data[self._head_room :]
        if head:
            _write_all(self._file, head)
            self._head_room -= len(head)
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            gone = self._tail.popleft()
            self._tail_bytes -= len(gone)
            self._dropped += len(gone)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
