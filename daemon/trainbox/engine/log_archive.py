"""Compresses the logs of attempts that have ended. A loop of its own: no job waits for it."""

from __future__ import annotations

import asyncio
import logging

from trainbox.engine.log_files import LogFile
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.supervisor import Supervisor
from trainbox.store import Store
from trainbox_sdk.errors import Unavailable

log = logging.getLogger(__name__)

SWEEP_S = 10.0


class LogArchive:
    """Packs what nobody writes to any more.

    Args:
        files: where the logs lie.
        store, supervisor: know whose logs may still grow.
    """

    def __init__(self, files: SandboxFiles, store: Store, supervisor: Supervisor) -> None:
        self._files = files
        self._store = store
        self._supervisor = supervisor

    async def run(self) -> None:
        """Sweep now and then; until cancelled."""
        while True:
            try:
                await self.sweep()
            except (Unavailable, OSError) as error:  # a full disk: the plain logs stay
                log.warning("logs stay as they are", extra={"why": str(error)})
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> int:
        """Pack the logs of ended attempts; return how many."""
        # Listed before the store is read: an attempt is on disk before its log exists.
        found = await asyncio.to_thread(self._files.plain_logs)
        if not found:
            return 0
        active = {step.attempt_id for step in await self._store.jobs.active_steps()}
        writing = active | self._supervisor.attempts()
        ended = [each for attempt, each in found if attempt not in writing]
        for path in ended:
            await asyncio.to_thread(LogFile(path).pack)
        return len(ended)
