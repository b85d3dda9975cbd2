"""Who has a worker process: as many places as the settings allow, given in turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainbox.engine.predict_seat import Seat
    from trainbox.workers.predict_process import PredictProcess

TURN_S = 2.0
"""Seconds a model keeps its place under load while another waits for one."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Slot:
    """One place taken by a model, with its process once that is ready.

    Attributes:
        busy: a run is under way.
        leaving: another model gets the place after this run.
        since: when it was given, in the loop's time.
        expiry: ends the process when nobody has used it for long.
    """

    def __init__(self, seat: Seat, since: float) -> None:
        self.seat = seat
        self.since = since
        self.process: PredictProcess | None = None
        self.busy = False
        self.leaving = False
        self.expiry: asyncio.TimerHandle | None = None

    @property
    def live(self) -> bool:
        """Whether its process is there and has not been seen dead."""
        return self.process is not None and self.process.alive

    @property
    def idle(self) -> bool:
        """Whether it can be taken away at once."""
        return self.process is not None and not self.busy and not self.seat.pending


class Places:
    """The places of all models, the least recently used first.

    Args:
        capacity: processes at one time.
        spawn: runs a coroutine in the background.
    """

    def __init__(self, capacity: int, spawn: Spawn) -> None:
        self._capacity = capacity
        self._spawn = spawn
        self._waiting: deque[Seat] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.slots: list[Slot] = []

    @property
    def free(self) -> int:
        """How many places nobody has or waits for."""
        return self._capacity - len(self.slots) - len(self._waiting)

    def want(self, seat: Seat) -> None:
        """Queue for a place; the seat's ``start`` is called when it is there."""
        if seat not in self._waiting:
            self._waiting.append(seat)
            self.assign()

    def used(self, slot: Slot) -> None:
        """Note that a place is used now."""
        if self.slots[-1] is not slot:
            self.slots.remove(slot)
            self.slots.append(slot)

    def leave(self, slot: Slot) -> None:
        """Give a place back; its process is closed already, or by the caller."""
        if slot in self.slots:
            self.slots.remove(slot)
        self.assign()

    def forget(self) -> None:
        """Give nothing to anybody any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def assign(self) -> None:
        """Give places to those who wait, in order, as far as there are any."""
        while self._waiting:
            seat = self._waiting[0]
            if not seat.pending:  # nobody is interested any more
                self._waiting.popleft()
                continue
            victim = None
            # A model that is warmed before a switch may stand beside the one it replaces.
            if len(self.slots) >= self._capacity + seat.urgent:
                victim = next((slot for slot in self.slots if slot.idle), None)
                if victim is None:
                    self._press()
                    return
                self.slots.remove(victim)
                victim.seat.lose(victim)
            self._waiting.popleft()
            slot = Slot(seat, asyncio.get_running_loop().time())
            self.slots.append(slot)
            seat.slots.append(slot)
            self._spawn(_open(slot, victim))

    def _press(self) -> None:
        """Have the place that was given first given back, once its turn is over."""
        if any(slot.leaving for slot in self.slots):
            return
        ready = [slot for slot in self.slots if slot.process is not None]
        if not ready:
            return  # a start is under way; its end looks again
        oldest = min(ready, key=lambda slot: slot.since)
        loop = asyncio.get_running_loop()
        left = oldest.since + TURN_S - loop.time()
        if left <= 0:
            oldest.leaving = True
        elif self._timer is None or self._timer.cancelled() or self._timer.when() <= loop.time():
            self._timer = loop.call_later(left, self.assign)


async def _open(slot: Slot, victim: Slot | None) -> None:
    if victim is not None and victim.process is not None:
        await victim.process.close()
    await slot.seat.start(slot)
