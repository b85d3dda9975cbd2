"""One daemon per state directory: an exclusive ``flock(2)``, gone with the process that held it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from trainbox.store.errors import StoreError


class DirectoryLock:
    """The right to open the store of one state directory; released by :meth:`release` or by death.

    Raises:
        StoreError: another process holds it; names its pid.
    """

    def __init__(self, path: Path) -> None:
        # Not inherited by children (PEP 446): a sandbox that outlives the daemon does not hold it.
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreError(
                path.parent,
                f"another trainbox (pid {holder}) is running on this state directory",
                "Stop that one first, or give this one a state directory of its own.",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next daemon in; a second call does nothing."""
        if self._fd >= 0:
            # Closing alone would leave it to a child that was just forked and has not become
            # another program yet.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1
