"""How much a sandbox has written: measured from outside, in a tree that is hostile and alive.

Nothing is followed or opened but directories, each relative to its parent's descriptor, so a link
planted during the walk leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

BLOCK = 512
"""Unit of ``st_blocks`` on Linux (stat(2))."""

MAX_DEPTH = 128
"""Deeper counts as over the limit: every level holds a descriptor of the daemon's."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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


def disk_use(roots: tuple[Path, ...], *, limit_bytes: int, limit_entries: int) -> DiskUse:
    """Add up files and directories with what lies under them, until a limit is passed."""
    count = _Count(limit_bytes, limit_entries)
    for root in roots:
        try:
            info = os.lstat(root)
            if not stat.S_ISDIR(info.st_mode):
                count.bytes += info.st_blocks * BLOCK
                continue
            fd = os.open(root, _DIRECTORY)
        except OSError:
            continue  # gone: nothing to count
        count.walk(fd)
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

    def walk(self, fd: int) -> None:
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
                    self.entries = self._limit_entries + 1
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
        if not stat.S_ISDIR(info.st_mode):
            return None
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None  # removed or replaced while we looked
            # A directory closed to us would hide what lies in it, so it is as good as too much.
            self.entries = self._limit_entries + 1
            return None

    def _names(self, fd: int) -> Iterator[str]:
        with os.scandir(fd) as entries:
            room = self._limit_entries - self.entries + 1
            return iter([entry.name for entry in islice(entries, max(0, room))])
