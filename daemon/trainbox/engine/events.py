"""Fan-out of committed facts: one shared ring, no queue per listener.

A slow listener costs nothing and loses nothing: it reads what it missed from the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

from trainbox.recorder import NOBODY, Recorder
from trainbox_sdk.jobs import TERMINAL, JobEvent

RING_SIZE = 2_000
"""Events kept in memory. A guest's may be 16 KiB each, so this is a bound on bytes as well."""
BATCH = 500

ReadStore = Callable[[int, str | None, int], Awaitable[list[JobEvent]]]
"""``(after, job_id, limit)`` to stored events in order."""


class EventFeed:
    """Remembers the newest events and wakes whoever waits for more."""

    def __init__(self, read_store: ReadStore, recorder: Recorder = NOBODY) -> None:
        self._read_store = read_store
        self._recorder = recorder
        self._ring: deque[JobEvent] = deque(maxlen=RING_SIZE)
        self._more = asyncio.Event()
        self._closed = False

    def publish(self, events: Sequence[JobEvent]) -> None:
        """Take events just committed, in order; never blocks."""
        self._ring.extend(events)
        self._wake()

    def close(self) -> None:
        """End every iteration; called when the daemon stops."""
        self._closed = True
        self._wake()

    async def after(self, seq: int, job_id: str | None) -> list[JobEvent]:
        """Return events with a higher ``seq``, waiting for none.

        At most :data:`BATCH` where they come from the store; none means that there are no more.
        """
        if not self._ring or seq < self._ring[0].seq - 1:
            return await self._read_store(seq, job_id, BATCH)
        found: list[JobEvent] = []
        # Newest first, so that a listener that is up to date looks at few events.
        for event in reversed(self._ring):
            if event.seq <= seq:
                break
            if job_id is None or event.job_id == job_id:
                found.append(event)
        return found[::-1]

    async def follow(
        self, seq: int, job_id: str | None, ended: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[JobEvent]:
        """Iterate events after ``seq``, waiting for more until ``ended`` or the feed closes.

        Either ends it after one more look, so that nothing published before is left out.

        Args:
            seq: the last event already seen.
            job_id: only this job's events; None for all.
            ended: asked at the start and after every event that ends a job: a retry may have
                followed it.
        """
        self._recorder.stream_opened()
        try:
            async with aclosing(self._follow(seq, job_id, ended)) as events:
                async for event in events:
                    yield event
        finally:
            self._recorder.stream_closed()

    async def _follow(
        self, seq: int, job_id: str | None, ended: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[JobEvent, None]:
        ask = True
        while True:
            more, closed = self._more, self._closed
            newest = self._ring[-1].seq if self._ring else 0
            last_look = ask and await ended()
            batch = await self.after(seq, job_id)
            for event in batch:
                seq = event.seq
                yield event
            ask = last_look or any(_ends_a_job(event) for event in batch)
            if batch:
                continue
            if last_look or closed:
                return
            # Nothing of this job up to here: a quiet job's listener need not go back to the store.
            seq = max(seq, newest)
            await more.wait()

    def _wake(self) -> None:
        # A fresh event per round: waiters of this round all wake, later ones wait for the next.
        previous, self._more = self._more, asyncio.Event()
        previous.set()


def _ends_a_job(event: JobEvent) -> bool:
    return event.kind == "state" and event.data.get("job_state") in TERMINAL
