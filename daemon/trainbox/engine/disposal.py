"""Gives back the room that ended jobs take: on request, and of failed ones after a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta

from trainbox.blobs import BlobStore
from trainbox.clock import now
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.writable import room
from trainbox.store import Store
from trainbox.store.job_changes import Deleted
from trainbox_sdk.errors import Unavailable
from trainbox_sdk.job_reports import Freed

log = logging.getLogger(__name__)

SWEEP_S = 600.0
"""Seconds between looks for scratch that nobody will resume from."""


class Disposal:
    """Deletes what no row needs any more; rows first, then bytes, so that none points at nothing.

    Args:
        store, blobs, files: where things are.
        keep_failed_scratch_s: seconds for which an unsuccessful step can be resumed by a retry.
    """

    def __init__(
        self, store: Store, blobs: BlobStore, files: SandboxFiles, keep_failed_scratch_s: float
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._files = files
        self._keep = timedelta(seconds=keep_failed_scratch_s)

    async def delete(self, job_id: str, *, who: str) -> Freed:
        """Free an ended job's log, scratch and artifacts; doing it twice frees nothing twice.

        Raises:
            NotFound: no such job.
            Conflict: it has not ended.
        """
        moment = self._blobs.moment()
        deleted = await self._store.jobs.delete(job_id, who=who)
        freed = await self._free_blobs(deleted.digests, moment)
        freed += await asyncio.to_thread(self._free_files, deleted)
        view = await self._store.jobs.get(job_id)
        assert view is not None
        return Freed(view, freed, deleted.kept)

    async def run(self) -> None:
        """Sweep now and then; until cancelled."""
        while True:
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("sweep waits", extra={"why": error.message})
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> set[str]:
        """Delete the scratch of steps that ended too long ago; return whose."""
        owners = await asyncio.to_thread(self._files.writable.owners)
        old = await self._store.jobs.ended_steps(owners, now() - self._keep)
        await asyncio.to_thread(self._files.writable.discard_all_of, old)
        return old

    async def _free_blobs(self, digests: Iterable[str], moment: float) -> int:
        freed = 0
        for digest in digests:
            path = self._blobs.path(digest)
            size = room(path)
            if await self._blobs.sweep(digest, untouched_since=moment):
                freed += size
        return freed

    def _free_files(self, deleted: Deleted) -> int:
        freed = self._files.writable.bytes_of(deleted.steps)
        for attempt in deleted.attempts:
            while logs := self._files.logs(attempt):  # again: one may just be being compressed
                freed += sum(room(path) for path in logs)
                for path in logs:
                    path.unlink(missing_ok=True)
        self._files.writable.discard_all_of(set(deleted.steps))
        return freed
