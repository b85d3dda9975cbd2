"""How many sandboxes stand by, and of which kinds: made on demand, within a budget, let go again.

Nothing stands by until a kind of job has been asked for; then a few of that kind do, made in the
background while no start is under way, within a budget of measured memory, and let go when nobody
has asked for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_port import EngineRefused
from trainbox_plugins.docker_backend.host_memory import available_bytes
from trainbox_plugins.docker_backend.standby_class import StandbyClass
from trainbox_plugins.docker_backend.standby_slot import (
    ESTIMATE_BYTES,
    NeverReady,
    Slot,
    SlotMaker,
)
from trainbox_sdk.errors import BackendUnavailable

log = logging.getLogger(__name__)

TICK_S = 15.0
"""Seconds between looks for what is idle or old, where nothing shorter is set."""
RETRY_S = 60.0
"""Seconds before a kind that failed is tried again; doubled each time."""
PATIENCE = 3
"""Hand-overs that failed in a row, of whatever kind, after which none is tried any more."""
CLOSE_S = 10.0
CALM_S = 1.0
"""Seconds without a start before one is made in the background: a short job's end goes first."""
CALM_AT_MOST_S = 10.0
"""But jobs that come without a pause do not keep it waiting longer than this many seconds."""
_LOOK_S = 0.1
FAILURES = (NeverReady, OSError, EngineRefused, BackendUnavailable, TimeoutError)
"""What can go wrong with a sandbox that stands by; none of it is a job's trouble."""


@dataclass
class Kind:
    """What is known of one class: who waits, and when it was wanted last."""

    kind: StandbyClass
    waiting: deque[Slot]
    asked_at: float
    not_before: float = 0.0
    failures: int = 0
    memory_bytes: int = ESTIMATE_BYTES


class StandbyPool:
    """The sandboxes that wait. Belongs to the event loop.

    Args:
        maker: makes and removes them.
        config: how many, how much, how long.
        instance: whose they are.
        folder: where their directories lie.

    Attributes:
        off: why none are kept; empty where they are.
    """

    def __init__(
        self, maker: SlotMaker, config: Config, *, instance: str, folder: Path, off: str = ""
    ) -> None:
        self.off = off
        self._maker = maker
        self._config = config
        self._instance = instance
        self._folder = folder
        self._making = asyncio.Lock()
        self._kinds: dict[str, Kind] = {}
        self._starts = 0
        self._started_at = 0.0
        self._failures = 0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Remove what waits."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S), self._making:
                pass  # one that is being made is better waited for than left half way
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        slots = [slot for kind in self._kinds.values() for slot in kind.waiting]
        self._kinds.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(self.discard(slot) for slot in slots))

    @property
    def waiting(self) -> int:
        """How many stand by."""
        return sum(len(kind.waiting) for kind in self._kinds.values())

    @property
    def lacks(self) -> str:
        """Why the budget lets none stand by; empty where it does, or where one does anyhow."""
        budget = self._config.standby_memory_bytes
        least = min((kind.memory_bytes for kind in self._kinds.values()), default=ESTIMATE_BYTES)
        if self.waiting or least <= budget:
            return ""
        return f"standby_memory_bytes = {budget} does not hold one, which takes about {least}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background, until :meth:`close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("standby work failed", exc_info=task.exception())

    @contextmanager
    def starting(self) -> Iterator[None]:
        """While a cold start is under way nothing is made in the background."""
        self._starts += 1
        try:
            yield
        finally:
            self._starts -= 1
            self._started_at = time.monotonic()

    # --- who is wanted

    def want(self, kind: StandbyClass) -> None:
        """Note that a job of a class is about to start: more of its kind may follow."""
        self._started_at = self._asked(kind).asked_at
        self._wake.set()

    def take(self, kind: StandbyClass) -> Slot | None:
        """Return one that waits, which is the caller's then."""
        known = self._asked(kind)
        while known.waiting:
            slot = known.waiting.popleft()
            if slot.directory.waits():
                return slot
            log.warning("a standby has died", extra={"slot": slot.id})
            self.spawn(self.discard(slot))
        return None

    async def fill(self, kind: StandbyClass) -> None:
        """Return once one of the class waits.

        Raises:
            BackendUnavailable: none can; the sentence says why.
        """
        async with self._making:
            while not (known := self._asked(kind)).waiting:
                await self._make(known)

    def make_room(self, memory_bytes: int) -> None:
        """Give way to a job: let standbys go until its memory is there, or none is left."""
        missing = memory_bytes - available_bytes()
        for kind in sorted(self._kinds.values(), key=lambda each: each.asked_at):
            while kind.waiting and missing > 0:
                missing -= kind.memory_bytes
                kind.not_before = time.monotonic() + RETRY_S
                self.spawn(self.discard(kind.waiting.pop()))

    async def discard(self, slot: Slot) -> None:
        """Remove one; what is left of it goes with the next start of the daemon."""
        try:
            await self._maker.discard(slot)
        except FAILURES as error:
            log.warning("a standby is left", extra={"slot": slot.id, "why": str(error)})

    def succeeded(self) -> None:
        """Note that a hand-over went well."""
        self._failures = 0

    def failed(self, why: str) -> None:
        """Note that a hand-over failed; after :data:`PATIENCE` in a row nothing stands by."""
        self._failures += 1
        if self._failures >= PATIENCE:
            self.off = f"it failed {PATIENCE} times, last: {why}"
            log.error("standby switched off", extra={"why": why})

    async def keep(self) -> None:
        """Keep as many as are wanted; until cancelled."""
        tick_s = min(TICK_S, self._config.standby_idle_s, self._config.standby_max_age_s)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick_s):
                    await self._wake.wait()
            self._wake.clear()
            await self._let_old_go()
            while not self.off and (kind := self._lacking()) is not None:
                await self._calm()
                async with self._making:
                    if len(kind.waiting) < self._config.standby_per_class:
                        with contextlib.suppress(BackendUnavailable):
                            await self._make(kind)

    # --- inside

    def _asked(self, kind: StandbyClass) -> Kind:
        known = self._kinds.setdefault(kind.key, Kind(kind, deque(), 0.0))
        known.asked_at = time.monotonic()
        return known

    async def _make(self, kind: Kind) -> None:
        try:
            slot = await self._maker.make(kind.kind, self._instance, self._folder)
        except FAILURES as error:
            kind.not_before = time.monotonic() + RETRY_S * 2**kind.failures
            kind.failures += 1
            log.warning("none stands by", extra={"class": kind.kind.key, "why": str(error)})
            raise BackendUnavailable(f"no sandbox stands by: {error}") from error
        # It may have been dropped as idle meanwhile, and even been asked for anew.
        known = self._kinds.setdefault(kind.kind.key, kind)
        known.failures = 0
        known.memory_bytes = self._maker.memory_bytes(slot)
        known.waiting.append(slot)

    def _lacking(self) -> Kind | None:
        """Return the class that was wanted last among those that may have one more."""
        now = time.monotonic()
        lacking = [
            kind
            for kind in self._kinds.values()
            if len(kind.waiting) < self._config.standby_per_class and kind.not_before <= now
        ]
        kind = max(lacking, key=lambda each: each.asked_at, default=None)
        if kind is None or not self._affordable(kind):
            return None
        return kind

    def _affordable(self, kind: Kind) -> bool:
        """Whether one more fits the budget, once those that were wanted longer ago have gone."""
        budget = self._config.standby_memory_bytes - kind.memory_bytes
        others = sorted(self._kinds.values(), key=lambda each: each.asked_at)
        used = sum(len(each.waiting) * each.memory_bytes for each in others)
        for other in others:
            while used > budget and other.waiting and other.asked_at < kind.asked_at:
                used -= other.memory_bytes
                self.spawn(self.discard(other.waiting.pop()))
        return used <= budget

    async def _let_old_go(self) -> None:
        now = time.monotonic()
        for kind in tuple(self._kinds.values()):
            idle = now - kind.asked_at > self._config.standby_idle_s
            for slot in tuple(kind.waiting):
                if idle or now - slot.made_at > self._config.standby_max_age_s:
                    kind.waiting.remove(slot)
                    await self.discard(slot)
            if idle and not kind.waiting:
                del self._kinds[kind.kind.key]

    async def _calm(self) -> None:
        """Wait until starts have been over for a moment: those come first."""
        began = time.monotonic()
        while (now := time.monotonic()) - began < CALM_AT_MOST_S:
            if not self._starts and now - self._started_at >= CALM_S:
                return
            await asyncio.sleep(_LOOK_S)
