"""Empty the trash: rows become tombstones first, then files that no row needs are deleted.

A crash in between leaves files without a row, never a row without its file; the next purge deletes
them as orphans.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from trainbox.blobs import BlobStore, Stored
from trainbox.store import Store
from trainbox.store.trash import Emptied
from trainbox_sdk.uploads import FreedFile, PurgeReport

ORPHAN = "orphan"
SLACK = 60_000_000
"""Microseconds that a file's time, from the kernel's coarse clock, may lie before an attempt's."""


class Trash:
    """Gives disk back."""

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs
        self._alone = asyncio.Lock()

    async def purge(self, *, older_than_s: float, dry_run: bool, who: str) -> PurgeReport:
        """Give up what was thrown away that long ago, and files that nothing points at.

        Args:
            older_than_s: seconds in the trash; 0 for all of it.
            dry_run: only say what would go.
            who: for the audit log.
        """
        async with self._alone:
            # Before the rows are looked at: what is published from here on is not touched.
            moment = self._blobs.moment()
            emptied = await self._store.trash.empty(
                older_than_s=older_than_s, dry_run=dry_run, who=who
            )
            files = await self._sweep(emptied, moment, dry_run=dry_run)
        return PurgeReport(
            dry_run=dry_run,
            freed_bytes=sum(file.bytes for file in files),
            purged=emptied.purged,
            kept=emptied.kept,
            files=tuple(files),
        )

    async def _sweep(self, emptied: Emptied, moment: float, *, dry_run: bool) -> list[FreedFile]:
        kinds = {each.digest: each.kind for each in emptied.purged}
        freed = []
        for file in await asyncio.to_thread(lambda: list(self._blobs.files())):
            if file.digest in emptied.in_use or not _may_go(file, kinds, emptied):
                continue
            if await self._blobs.sweep(file.digest, untouched_since=moment, dry_run=dry_run):
                what = kinds.get(file.digest, ORPHAN)
                freed.append(FreedFile(what, file.name, file.bytes))
        return freed


def _may_go(file: Stored, kinds: Mapping[str, str], emptied: Emptied) -> bool:
    """Return whether no running step can have published the file for itself."""
    oldest = emptied.oldest_attempt_at
    return file.digest in kinds or oldest is None or file.published_at < oldest - SLACK
