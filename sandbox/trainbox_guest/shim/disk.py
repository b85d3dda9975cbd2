"""How much a sandbox has written: measured from outside, in a tree that is hostile and alive.

Nothing is followed or opened but directories, each relative to its parent's descriptor, so a link
planted during the walk leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BLOCK = 512
"""Unit of ``st_blocks`` on Linux (stat(2))."""

MAX_DEPTH = 128
"""Deeper counts as over the limit: every level holds a descriptor of the watcher's."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSED = (errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class DiskUse:
    """What a walk has counted.

    Attributes:
        bytes: allocated on disk, holes of sparse files left out.
        entries: files and directories.
        whole: False where the walk stopped early because a limit was passed already.
    """

    bytes: int
    entries: int
    whole: bool


def disk_use(roots: Iterable[str | Path], *, limit_bytes: int, limit_entries: int) -> DiskUse:
    """Add up files and directories with what lies under them, until a limit is passed."""
    count = _Count(limit_bytes, limit_entries)
    for root in roots:
        count.root(root)
    return DiskUse(count.bytes, count.entries, not count.over)


class _Count:
    def __init__(self, limit_bytes: int, limit_entries: int) -> None:
        self.bytes = 0
        self.entries = 0
        self._limit_bytes = limit_bytes
        self._limit_entries = limit_entries
        self._linked: set[tuple[int, int]] = set()

    @property
    def over(self) -> bool:
        return self.bytes > self._limit_bytes or self.entries > self._limit_entries

    def root(self, path: str | Path) -> None:
        try:
            info = os.lstat(path)
        except OSError:
            return  # gone: nothing to count
        if not stat.S_ISDIR(info.st_mode):
            self.bytes += info.st_blocks * BLOCK
            return
        fd = self._open(path, None)
        if fd is not None:
            self._walk(fd)

    def _walk(self, fd: int) -> None:
        """Count a tree; takes over the descriptor. Holds one descriptor per level of depth."""
        stack = [fd]
        names = [self._names(fd)]
        try:
            while stack and not self.over:
                name = next(names[-1], None)
                if name is None:
                    names.pop()
                    os.close(stack.pop())
                    continue
                below = self._entry(stack[-1], name)
                if below is not None:
                    stack.append(below)
                    names.append(self._names(below))
                if len(stack) > MAX_DEPTH:
                    self._too_much()
        finally:
            for left in stack:
                os.close(left)

    def _entry(self, parent: int, name: str) -> int | None:
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError:
            return None  # it went while we looked
        self.entries += 1
        identity = (info.st_dev, info.st_ino)
        if info.st_nlink == 1 or identity not in self._linked:
            self.bytes += info.st_blocks * BLOCK
            if info.st_nlink > 1:
                self._linked.add(identity)
        return self._open(name, parent) if stat.S_ISDIR(info.st_mode) else None

    def _open(self, name: str | Path, parent: int | None) -> int | None:
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno in _CLOSED:
                # It would hide what lies in it: as good as too much.
                self._too_much()
            return None  # removed or replaced while we looked

    def _too_much(self) -> None:
        self.entries = self._limit_entries + 1

    def _names(self, fd: int) -> Iterator[str]:
        with os.scandir(fd) as entries:
            room = self._limit_entries - self.entries + 1
            return iter([entry.name for entry in islice(entries, max(0, room))])
