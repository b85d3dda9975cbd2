"""How much a step has written: measured from outside, in a tree that is hostile and alive.

Nothing is followed; directories are opened relative to their parent's descriptor, so that a link
planted during the walk leads nowhere.
"""

from __future__ import annotations

import os
import stat

_BLOCK = 512
_MAX_DEPTH = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskUse:
    """Allocated bytes and entries under some roots; stops counting once a limit is passed."""

    def __init__(self, roots: list[str], limit_bytes: int, limit_entries: int) -> None:
        self.bytes = 0
        self.entries = 0
        self._limit_bytes = limit_bytes
        self._limit_entries = limit_entries
        for root in roots:
            self._root(root)

    @property
    def over(self) -> bool:
        """Whether a limit is passed."""
        return self.bytes > self._limit_bytes or self.entries > self._limit_entries

    def _root(self, root: str) -> None:
        try:
            info = os.lstat(root)
            if stat.S_ISDIR(info.st_mode):
                self._walk(os.open(root, _DIRECTORY), 1)
            else:
                self.bytes += info.st_blocks * _BLOCK
        except OSError:
            return  # gone, or replaced: nothing to count

    def _walk(self, directory: int, depth: int) -> None:
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if self.over:
                        return
                    self._entry(directory, entry.name, depth)
        finally:
            os.close(directory)

    def _entry(self, directory: int, name: str, depth: int) -> None:
        try:
            info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return  # it went while we looked
        self.entries += 1
        self.bytes += info.st_blocks * _BLOCK
        if not stat.S_ISDIR(info.st_mode):
            return
        if depth >= _MAX_DEPTH:  # nobody builds a model that deep: it is there to hide
            self.entries = self._limit_entries + 1
            return
        try:
            below = os.open(name, _DIRECTORY, dir_fd=directory)
        except OSError:
            self.entries = self._limit_entries + 1  # closed to us: as good as too much
            return
        self._walk(below, depth + 1)
