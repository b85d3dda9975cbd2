"""What is known of the backends' health, looked at no more often than needed."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from trainbox_sdk.backends import Capacity, Health, SandboxBackend
from trainbox_sdk.errors import StorageFull, TrainboxError

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""Seconds a look is good for where people ask."""
PERIODS = 5
"""A start must not pay a probe: for it a good look serves this many times as long, and
:meth:`Pulse.run` sees to it that none becomes so old."""
BEATS = 4
"""Times :data:`FRESH_S` between two of its looks, of backends that somebody has asked about."""


T = TypeVar("T")


SPACE_FRESH_S = 0.25
"""Seconds a look at the disk is good for: a burst of submissions pays one."""


class _Remembered(Generic[T]):
    """The last answer to one question; callers that come while it is asked share the answer.

    Args:
        ask: for it.
        good: whether an answer may serve for longer.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], good: Callable[[T], bool] = lambda _: True
    ) -> None:
        self._ask = ask
        self._good = good
        self._lock = asyncio.Lock()
        self._answer: tuple[float, T] | None = None

    async def get(self) -> T:
        """Return the answer, asking again when it is older than :data:`FRESH_S`."""
        answer = self._fresh()
        if answer is None:
            async with self._lock:
                answer = self._fresh()
                if answer is None:
                    answer = (time.monotonic(), await self._ask())
                    self._answer = answer
        return answer[1]

    async def recent(self) -> T:
        """Return a good answer that is :data:`PERIODS` times as old at most, or ask."""
        if self._answer is not None and self._good(self._answer[1]):
            answered_at, answer = self._answer
            if time.monotonic() - answered_at <= PERIODS * FRESH_S:
                return answer
        return await self.get()

    @property
    def asked(self) -> bool:
        """Whether somebody wanted to know."""
        return self._answer is not None

    def _fresh(self) -> tuple[float, T] | None:
        if self._answer is not None and time.monotonic() - self._answer[0] <= FRESH_S:
            return self._answer
        return None


class Pulse:
    """The last look at each backend.

    Args:
        backends: by name.
        amend: adds to a backend's health what the engine gives its sandboxes.
    """

    def __init__(
        self,
        backends: Mapping[str, SandboxBackend],
        amend: Callable[[Health], Health] | None = None,
    ) -> None:
        self._backends = backends
        self._amend = amend or _as_it_is
        self._health = {
            name: _Remembered(partial(self._look, name), lambda health: health.ok)
            for name in backends
        }
        self._room = {name: _Remembered(b.capacity) for name, b in backends.items()}

    async def health(self, name: str) -> Health:
        """Return the backend's health, at most :data:`FRESH_S` seconds old."""
        return await self._health[name].get()

    async def recent_health(self, name: str) -> Health:
        """Return the backend's health for a start: where it was good, without a look now."""
        return await self._health[name].recent()

    async def capacity(self, name: str) -> Capacity:
        """Return what the backend gives out in all, without a look now where there was a recent.

        Raises:
            Unavailable: the engine behind it does not answer.
        """
        return await self._room[name].recent()

    async def run(self) -> None:
        """Look again and again, so that no start has to; until cancelled."""
        while True:
            await asyncio.sleep(BEATS * FRESH_S)
            for name in [name for name, known in self._health.items() if known.asked]:
                await self.health(name)
                # Who needs it hears why it failed; here it is only asked in time.
                with suppress(Exception):
                    await self._room[name].get()

    async def first_healthy(self) -> str | None:
        """Return the first backend, in plugins.toml order, that is usable now."""
        for name in self._backends:
            if (await self.recent_health(name)).ok:
                return name
        return None

    async def _look(self, name: str) -> Health:
        try:
            return self._amend(await self._backends[name].probe())
        except TrainboxError as error:
            return Health(ok=False, detail=error.message)
        except Exception as error:
            # A plugin's fault makes its backend unusable, not the daemon.
            log.exception("probe failed", extra={"backend": name})
            return Health(ok=False, detail=f"its probe failed: {error!r}")


class FreeSpaceFloor:
    """Whether there is room for more, looked at no more often than :data:`SPACE_FRESH_S`.

    Args:
        folder: on the file system that everything is written to.
        floor_bytes: what must be free, as an unprivileged user may use it.
    """

    def __init__(self, folder: Path, floor_bytes: int) -> None:
        self._folder = folder
        self._floor = floor_bytes
        self._seen = (float("-inf"), 0)

    def reached(self) -> bool:
        """Whether less than the floor is free."""
        return self._free_bytes() < self._floor

    def look_again(self) -> None:
        """Forget what was seen: something has been deleted since."""
        self._seen = (float("-inf"), 0)

    def require(self) -> None:
        """Refuse what would take the room that is kept free.

        Raises:
            StorageFull: less than the floor is free.
        """
        free = self._free_bytes()
        if free < self._floor:
            raise StorageFull(
                f"{self._folder} has {free} bytes free, under the floor of {self._floor}",
                hint="free some space; queued jobs are kept",
            )

    def shortage(self) -> str:
        """Say what a sandbox waits for; nothing where nothing is short."""
        free = self._free_bytes()
        if free >= self._floor:
            return ""
        return f"waits for disk space: {free:,} bytes are free, {self._floor:,} are kept free"

    def _free_bytes(self) -> int:
        now = time.monotonic()
        if now - self._seen[0] > SPACE_FRESH_S:
            self._seen = (now, shutil.disk_usage(self._folder).free)
        return self._seen[1]


def _as_it_is(health: Health) -> Health:
    return health
