"""The daemon's pulse: a round through the event loop and through the store, again and again.

Who watches the daemon from outside (the service manager's watchdog, ``/readyz``) hears of a round
only once it has come back; a loop that hangs starts none, a store that hangs ends none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from trainbox.recorder import NOBODY, Recorder
from trainbox.store import Store
from trainbox_sdk.errors import StorageFull, TrainboxError

log = logging.getLogger(__name__)

LAG_EVERY_S = 0.5
"""Seconds between measurements of the event loop's lag."""
STALE_S = 10.0
"""Seconds after which the last good round says nothing any more."""


class Heartbeat:
    """Goes its rounds while :meth:`run` runs.

    Args:
        store: passed through with a durable write that changes nothing.
        every_s: seconds between two rounds.
        alive: called on the loop after each round that came back.
        recorder: told of rounds and of the loop's lag.
    """

    def __init__(
        self,
        store: Store,
        every_s: float,
        alive: Callable[[], None],
        recorder: Recorder = NOBODY,
    ) -> None:
        self._store = store
        self._every_s = every_s
        self._alive = alive
        self._recorder = recorder
        self._wrote_at = float("-inf")
        self._trouble = ""

    async def run(self) -> None:
        """Go round; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rounds(), name="heartbeat")
            group.create_task(self._lag(), name="loop lag")

    def wrote_ago_s(self) -> float | None:
        """Return the seconds since the store last wrote; None where that is too long ago."""
        ago = time.monotonic() - self._wrote_at
        return ago if ago <= STALE_S and not self._trouble else None

    async def beat(self) -> None:
        """Go one round.

        Raises:
            StorageFull: the store answers, and has no room.
            Unavailable: the store is broken, stopping, or has too much to do.
        """
        try:
            await self._store.ping()
        except TrainboxError as error:
            self._trouble = error.message
            raise
        self._wrote_at, self._trouble = time.monotonic(), ""

    async def _rounds(self) -> None:
        while True:
            alive = await self._came_back()
            self._recorder.heartbeat(alive=alive)
            if alive:
                self._alive()
            await asyncio.sleep(self._every_s)

    async def _came_back(self) -> bool:
        try:
            await self.beat()
        except StorageFull as error:
            # Loop and writer did answer: to start again would free no disk.
            log.warning("the store has no room", extra={"why": error.message})
        except TrainboxError as error:
            log.warning("the store does not write", extra={"why": error.message})
            return False
        return True

    async def _lag(self) -> None:
        while True:
            asked = time.monotonic()
            await asyncio.sleep(LAG_EVERY_S)
            self._recorder.loop_lag(max(0.0, time.monotonic() - asked - LAG_EVERY_S))
