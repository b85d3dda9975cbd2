"""Carries what a guest reports into the store while it runs, and the rest once it is dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from trainbox.engine.guest_events import MAX_FILE_BYTES, Read, read_events
from trainbox.store.records import StepRecord

TAIL_S = 0.2
"""Seconds between looks at a running guest's events."""

Commit = Callable[[StepRecord, Read], Awaitable[None]]
"""Stores what one look brought, together with the offset behind it; waits out a full store."""
Tell = Callable[[str, str], Awaitable[None]]
"""``(kind, text)``: stores a message about the job."""


class EventTail:
    """One guest's event file, followed from the offset that the store has.

    Args:
        step: as the store has it now; an older record's offset would be refused.
        path: the event file.
        commit: stores one read.
        tell: tells people that a flood is cut off.
    """

    def __init__(self, step: StepRecord, path: Path, commit: Commit, tell: Tell) -> None:
        self._step = step
        self._path = path
        self._commit = commit
        self._tell = tell

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow the file while the body runs; then, if it ended well, read the rest.

        A commit under way is never left: the next read would then start at an offset that the
        store has moved on from.
        """
        stop = asyncio.Event()
        task = asyncio.create_task(self._follow(stop))
        try:
            yield
        except BaseException:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        stop.set()
        await task
        while await self._advance():
            pass

    async def _follow(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._advance()
            with suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it loses a cancellation that meets the stop.
                async with asyncio.timeout(TAIL_S):
                    await stop.wait()

    async def _advance(self) -> bool:
        """Commit the next events with their offset; return whether the file had moved on."""
        step = self._step
        read = await asyncio.to_thread(read_events, self._path, step.events_offset, step.queued_at)
        if read.offset == self._step.events_offset:
            return False
        await self._commit(self._step, read)
        self._step = replace(self._step, events_offset=read.offset)
        if read.offset >= MAX_FILE_BYTES:
            limit = MAX_FILE_BYTES // 1024**2
            await self._tell("warning", f"more than {limit} MiB of events; the rest is not shown")
        return True
