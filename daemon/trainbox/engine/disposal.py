"""Gives back the room that ended jobs take: on request, and of failed ones after a while."""

from __future__ import annotations

import asyncio
import logging
import shutil
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
RELIEF_S = 5.0
"""Seconds between looks at the room that kept scratch takes, and at what is free."""
KEEP_BYTES = 10 * 1024**3


class Disposal:
    """Deletes what no row needs any more; rows first, then bytes, so that none points at nothing.

    Args:
        store, blobs, files: where things are.
        keep_failed_scratch_s: seconds for which an unsuccessful step can be resumed by a retry.
        keep_bytes: what the scratch of all those steps may take, by allocated blocks; beyond it
            the oldest goes first.
        headroom_bytes: with less than this free, scratch goes as well: work that could begin is
            worth more than a retry that may never come.
    """

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        files: SandboxFiles,
        keep_failed_scratch_s: float,
        *,
        keep_bytes: int = KEEP_BYTES,
        headroom_bytes: int = 0,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._files = files
        self._keep = timedelta(seconds=keep_failed_scratch_s)
        self._keep_bytes = keep_bytes
        self._headroom_bytes = headroom_bytes
        self._relieving = asyncio.Lock()

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
        """Sweep now and then, and look at the room more often; until cancelled."""
        looks = 0
        while True:
            try:
                if looks % (SWEEP_S // RELIEF_S) == 0:
                    await self.sweep()
                await self.relieve()
            except Unavailable as error:
                log.warning("sweep waits", extra={"why": error.message})
            looks += 1
            await asyncio.sleep(RELIEF_S)

    async def sweep(self) -> set[str]:
        """Delete the scratch of steps that ended too long ago; return whose."""
        owners = await asyncio.to_thread(self._files.writable.owners)
        old = await self._store.jobs.ended_steps(owners, now() - self._keep)
        await asyncio.to_thread(self._files.writable.discard_all_of, set(old))
        return set(old)

    async def relieve(self) -> set[str]:
        """Delete kept scratch, oldest first, until it is in its budget and enough is free.

        What runs or is queued keeps its own. Returns the steps that can only begin anew.
        """
        async with self._relieving:
            owners = await asyncio.to_thread(self._files.writable.owners)
            oldest_first = await self._store.jobs.ended_steps(owners, now())
            taken = await asyncio.to_thread(self._files.writable.taken_by, oldest_first)
            kept, gone = sum(taken.values()), set[str]()
            for step_id in oldest_first:
                if kept <= self._keep_bytes and await asyncio.to_thread(self._has_headroom):
                    break
                # Asked again: it may have been retried since.
                if await self._store.jobs.ended_steps([step_id], now()):
                    await asyncio.to_thread(self._files.writable.discard_all_of, {step_id})
                    kept -= taken[step_id]
                    gone.add(step_id)
        if gone:
            log.warning("kept scratch given up for room", extra={"steps": sorted(gone)})
        return gone

    def _has_headroom(self) -> bool:
        return shutil.disk_usage(self._files.writable.folder).free >= self._headroom_bytes

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
