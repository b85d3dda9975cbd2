"""The step's stdout and stderr: a pipe in, a file with a size limit out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trainbox_guest.shim.capped_log import CappedLog

if TYPE_CHECKING:
    from trainbox_guest.shim.log_rate import LogRate

_CHUNK = 256 * 1024


class Output:
    """Copies a pipe into a log. A disk that takes no more costs the log, not the step.

    Args:
        path: written from its beginning.
        limit_bytes: largest size of the finished file.
        rate: how fast output may come; None for any.

    Attributes:
        seen: bytes read so far.
        trouble: why the log is cut off; empty while it is not.
    """

    def __init__(self, path: str, limit_bytes: int, rate: LogRate | None = None) -> None:
        self._log = CappedLog(path, limit_bytes, rate)
        self.pipe, self.write_end = os.pipe()
        os.set_blocking(self.pipe, False)
        self.seen = 0
        self.trouble = ""

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
        try:
            self._log.close(durable=True)
        except OSError as error:
            self._cut(error)

    def _waiting(self) -> bool:
        try:
            data = os.read(self.pipe, _CHUNK)
        except BlockingIOError:  # nobody writes, yet somebody holds the pipe open: not our problem
            return False
        self._keep(data)
        return bool(data)

    def _keep(self, data: bytes) -> None:
        self.seen += len(data)
        if self.trouble:
            return
        try:
            self._log.append(data)
        except OSError as error:
            self._log.abandon()
            self._cut(error)

    def _cut(self, error: OSError) -> None:
        self.trouble = f"its log is cut off: {error.strerror}"
