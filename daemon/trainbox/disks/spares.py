"""Disks that are ready before anybody needs one: formatted, and mounted where nobody sees them.

A spare's mount has no place yet: it hangs on a descriptor of this process and ends with it, so a
daemon that is killed leaves a file and nothing else. Each is given to one key, once.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainbox.disks import kernel
from trainbox.disks.images import DiskSize, format_image

log = logging.getLogger(__name__)

SUFFIX = ".img"
SPARE = "spare-"
CALM_S = 1.0
"""Seconds after one was taken before the next is made: whoever took it is about to start. None are
waited for where no other is left."""


@dataclass(frozen=True)
class Spare:
    """A disk without a name.

    Attributes:
        mount: descriptor of its detached mount; None where this kernel makes none.
    """

    image: Path
    mount: int | None

    def close(self) -> None:
        """Unmount it, unless it has a place by now."""
        if self.mount is not None:
            os.close(self.mount)


class Spares:
    """Spare disks of one directory. Blocking; thread-safe.

    Args:
        root: the directory.
        size: of each.
        count: how many are kept at hand; made in the background as they are taken.
    """

    def __init__(self, root: Path, size: DiskSize, count: int) -> None:
        self._root = root
        self._size = size
        self._count = count
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._waiting: deque[Spare] = deque()
        self._filler = ThreadPoolExecutor(1, thread_name_prefix="disks") if count else None
        self._refill()

    def take(self, image: Path, point: Path) -> bool:
        """Make a spare the disk of a name, and mount it; False where the caller has to mount it.

        Args:
            image: where it is to lie; made where there is no spare.
            point: its mount point; exists.

        Raises:
            OSError: no room for another.
        """
        with self._lock:
            spare = self._waiting.popleft() if self._waiting else None
        if spare is None:
            self._format(image)
            self._refill()
            return False
        try:
            spare.image.rename(image)
            if spare.mount is not None:
                kernel.attach(spare.mount, point)
        finally:
            spare.close()
            self._refill()
        return spare.mount is not None

    def close(self) -> None:
        """Make no more, and let go of those that are ready."""
        with self._lock:
            self._closed.set()
            left, self._waiting = self._waiting, deque()
        for spare in left:
            spare.close()
        if self._filler is not None:
            self._filler.shutdown(cancel_futures=True)

    def _refill(self) -> None:
        if self._filler is not None:
            with suppress(RuntimeError):  # closing
                self._filler.submit(self._fill)

    def _fill(self) -> None:
        if self._waiting:
            self._closed.wait(CALM_S)
        try:
            while len(self._waiting) < self._count and not self._closed.is_set():
                self._keep(self._made())
        except OSError as error:
            log.warning("no spare disk", extra={"why": str(error)})

    def _keep(self, spare: Spare) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._waiting.append(spare)
                return
        spare.close()

    def _made(self) -> Spare:
        image = self._root / f"{SPARE}{secrets.token_hex(4)}{SUFFIX}"
        self._format(image)
        try:
            with kernel.loop_device(image) as device:
                return Spare(image, kernel.detached_mount(device))
        except OSError as error:
            # Formatted is better than nothing: who takes it mounts it.
            log.info("a spare disk is not mounted ahead", extra={"why": str(error)})
            return Spare(image, None)

    def _format(self, image: Path) -> None:
        part = image.with_name(f"{SPARE}{secrets.token_hex(4)}.part")
        try:
            format_image(part, self._size)
            part.rename(image)
        finally:
            part.unlink(missing_ok=True)
