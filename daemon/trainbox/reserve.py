"""A little room kept back, so that a full disk never stops what frees it.

Deleting needs room too: a row, an audit row, pages of the log. On a disk with no byte free the
remedy would be refused with "free some space". So a file of a few MiB lies in the state directory,
and is given up when an act that frees space finds none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from trainbox_sdk.errors import StorageFull

T = TypeVar("T")

log = logging.getLogger(__name__)

RESERVE_BYTES = 4 * 1024**2
PLENTY = 16
"""The reserve is taken only where this many times as much is free: it must not fill a disk."""


class Reserve:
    """The room kept back in one state directory.

    Args:
        folder: the state directory.
        size: bytes.
    """

    def __init__(self, folder: Path, size: int = RESERVE_BYTES) -> None:
        self._file = folder / "reserve"
        self._size = size

    async def freeing(self, act: Callable[[], Awaitable[T]]) -> T:
        """Carry out an act that frees space; where it finds none, again with the reserve.

        Raises:
            StorageFull: there is no room even so.
        """
        try:
            return await act()
        except StorageFull:
            if not await asyncio.to_thread(self.give_up):
                raise
            log.warning("the reserve was given up for an act that frees space")
            return await act()
        finally:
            await asyncio.to_thread(self.take)

    def take(self) -> None:
        """Take the room, where there is plenty and it is not taken yet."""
        with suppress(OSError):  # another time: the reserve is a help and no need
            held = self._file.stat().st_size if self._file.exists() else 0
            if held >= self._size or self._free() < PLENTY * self._size:
                return
            fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._size)
            finally:
                os.close(fd)

    def give_up(self) -> bool:
        """Give the room back to the disk; False where none was held."""
        try:
            self._file.unlink()
        except OSError:
            return False
        return True

    def _free(self) -> int:
        return shutil.disk_usage(self._file.parent).free
