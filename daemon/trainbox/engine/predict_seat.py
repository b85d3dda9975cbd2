"""One model among the predict workers: a queue, its processes, and batches of what queued.

A request that finds a process idle runs at once. What arrives while all are busy queues up, and
the next free process takes as much of it as fits one batch: no request waits for company.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from trainbox.engine import predict_refusals as refusals
from trainbox.engine.predict_places import Places, Slot, Spawn
from trainbox.engine.predict_tickets import (
    Answer,
    SeatLimits,
    Ticket,
    deliver,
    next_batch,
    refuse,
)
from trainbox.recorder import Recorder
from trainbox.workers import predict_wire as wire
from trainbox.workers.predict_process import (
    Loaded,
    ModelUnusable,
    PredictProcess,
    TooMuchMemory,
    WorkerGone,
)
from trainbox_sdk.errors import TooLarge, TrainboxError, Unavailable

log = logging.getLogger(__name__)

TICK_S = 0.25
"""Seconds a request waits before its model gets a further process, if there is a free place."""
WATCH_S = 1.0
"""Seconds between two looks at the memory of a process."""
PATIENT_FAILURES = 2
"""Failures in a row after which the next process is started at once."""
LONGEST_PAUSE_S = 30.0


class Seat:
    """One model's requests and processes.

    Attributes:
        pending: requests in order.
        slots: this model's places.
        urgent: it may have a place beyond the limit (see :meth:`Places.assign`).
        loaded: what the file says of itself, once a worker has loaded it.
    """

    def __init__(  # noqa: PLR0917 - handed over by the predictor alone
        self,
        digest: str,
        path: Path,
        limits: SeatLimits,
        places: Places,
        spawn: Spawn,
        recorder: Recorder,
    ) -> None:
        self.digest = digest
        self.pending: deque[Ticket] = deque()
        self.slots: list[Slot] = []
        self.urgent = False
        self.loaded: Loaded | None = None
        self._path = path
        self._limits = limits
        self._places = places
        self._spawn = spawn
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self._flight = 0
        self._pump_due = False
        self._ticking = False
        self._failures = 0
        self._paused_until = 0.0
        self._last_failure = ""
        self._closed = False

    # -- asking -------------------------------------------------------------------------------

    async def run(self, item: wire.Item) -> Answer:
        """Return the model's outputs for one request's rows.

        Raises:
            ValidationFailed: the model raises on these values.
            TooLarge: the model's file.
            Unavailable: the worker failed, or no turn came.
        """
        return await self._enter(item)

    async def ready(self) -> Loaded:
        """Return what the file says of itself, once a process has it loaded.

        Raises:
            TooLarge: the model's file.
            Unavailable: as above.
        """
        if self.loaded is None or not any(slot.live for slot in self.slots):
            await self._enter(None)
        assert self.loaded is not None
        return self.loaded

    async def _enter(self, item: wire.Item | None) -> Answer:
        if self._closed:
            raise refusals.closing()
        if self._flight >= self._limits.waiting:
            raise refusals.busy(f"{self._flight} requests wait for this model already")
        now = self._loop.time()
        if not self.slots and now < self._paused_until:
            raise refusals.paused(self._failures, self._paused_until - now, self._last_failure)
        ticket = Ticket(item, self._loop.create_future(), now + self._limits.timeout_s)
        self._flight += 1
        self.pending.append(ticket)
        self._pump_soon()
        try:
            return await ticket.answer
        finally:
            self._flight -= 1

    # -- running ------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Look at the queue once all that has arrived by now is in it."""
        if not self._pump_due:
            self._pump_due = True
            delay = self._limits.batch_delay_s
            if delay:
                self._loop.call_later(delay, self._pump)
            else:
                self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        for slot in [*self.slots]:
            if slot.process is not None and not slot.busy:
                if not slot.process.alive:
                    self._drop(slot)
                elif batch := next_batch(
                    self.pending, slot.process.loaded, self._limits.batch_rows
                ):
                    slot.busy = True
                    self._places.used(slot)
                    self._spawn(self._serve(slot, slot.process, batch))
        if self.pending and not self._closed:
            if not self.slots:
                self._places.want(self)
            self._tick_later()

    async def _serve(self, slot: Slot, process: PredictProcess, batch: list[Ticket]) -> None:
        items = [ticket.item for ticket in batch if ticket.item is not None]
        self._recorder.predict_batch(sum(item.rows for item in items))
        try:
            groups = await process.run(items, timeout_s=self._limits.timeout_s)
        except wire.BadFrame as error:
            for ticket in batch:
                refuse(ticket, TooLarge(f"the request is too large: {error}"))
        except (WorkerGone, TimeoutError) as error:
            if isinstance(error, WorkerGone):
                self._note_failure(str(error))
            await self._lost(slot, batch, error)
            return
        else:
            self._failures = 0
            if groups[-1].status == wire.OUT_OF_MEMORY:
                await self._lost(slot, batch[-groups[-1].count :], MemoryError())
            deliver(groups, batch)
        slot.busy = False
        if slot.leaving or slot not in self.slots:
            await self._let_go(slot)
        else:
            self._rest(slot)
        self._pump()
        self._places.assign()

    async def _lost(self, slot: Slot, batch: Sequence[Ticket], error: Exception) -> None:
        """Tell the one whose run ended its process; of several, each gets a run of its own."""
        log.warning("predict worker of %s failed: %s", self.digest, error or type(error).__name__)
        await self._let_go(slot)
        if len(batch) > 1 and not self._closed:
            for ticket in reversed(batch):
                ticket.alone = True
                ticket.deadline = self._loop.time() + self._limits.timeout_s
                self.pending.appendleft(ticket)
        else:
            for ticket in batch:
                refuse(ticket, self._verdict(error))
        self._pump()

    def _verdict(self, error: Exception) -> Unavailable:
        if self._closed:
            return refusals.closing()
        if isinstance(error, MemoryError | TooMuchMemory):
            return refusals.out_of_memory(self._limits.memory_bytes)
        if isinstance(error, TimeoutError):
            return refusals.too_slow(self._limits.timeout_s)
        return refusals.worker_failed(str(error))

    # -- processes ----------------------------------------------------------------------------

    async def start(self, slot: Slot) -> None:
        """Start the process of a place; if that fails, so do all who wait for it."""
        try:
            process = await self._started()
        except TrainboxError as error:
            self._drop(slot)
            self._note_failure(error.message)
            if not self.slots:
                self._refuse_all(error)
            return
        if self._closed or slot not in self.slots:
            await process.close()
            return
        log.info("predict worker %d serves %s", process.pid, self.digest)
        slot.process, self.loaded, self.urgent = process, process.loaded, False
        self._watch(slot, process)
        self._rest(slot)
        self._pump()
        self._places.assign()

    async def _started(self) -> PredictProcess:
        limits = self._limits
        try:
            size = self._path.stat().st_size
            if size > limits.model_bytes:
                raise TooLarge(f"the model has {size:,} bytes, at most {limits.model_bytes:,}")
            return await PredictProcess.start(
                self._path, memory_bytes=limits.memory_bytes, timeout_s=limits.load_timeout_s
            )
        except ModelUnusable as error:
            raise refusals.unusable(str(error)) from error
        except TimeoutError as error:
            raise refusals.worker_failed(
                f"it did not load the model in {limits.load_timeout_s:g} s"
            ) from error
        except (WorkerGone, OSError) as error:
            raise refusals.worker_failed(str(error)) from error

    def _note_failure(self, message: str) -> None:
        self._failures += 1
        self._last_failure = message
        if self._failures > PATIENT_FAILURES:
            pause = min(LONGEST_PAUSE_S, 2.0 ** (self._failures - PATIENT_FAILURES - 2))
            self._paused_until = self._loop.time() + pause

    def _watch(self, slot: Slot, process: PredictProcess) -> None:
        """Look at a process's memory now and again, as long as it has its place."""
        if slot in self.slots and process.alive:
            process.limit_memory(self._limits.memory_bytes)
            self._loop.call_later(WATCH_S, self._watch, slot, process)

    def _rest(self, slot: Slot) -> None:
        if slot.expiry is not None:
            slot.expiry.cancel()
        slot.expiry = self._loop.call_later(self._limits.idle_s, self._expire, slot)

    def _expire(self, slot: Slot) -> None:
        if slot in self.slots and slot.idle:
            self._drop(slot)

    def lose(self, slot: Slot) -> None:
        """Know that a place is taken away; whoever takes it closes the process."""
        if slot.expiry is not None:
            slot.expiry.cancel()
        if slot in self.slots:
            self.slots.remove(slot)

    def _drop(self, slot: Slot) -> None:
        self.lose(slot)
        self._spawn(self._let_go(slot))

    async def _let_go(self, slot: Slot) -> None:
        self.lose(slot)
        if slot.process is not None:
            await slot.process.close()
        self._places.leave(slot)

    # -- waiting ------------------------------------------------------------------------------

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        """Tell those who have waited too long; get a further process for those who wait long."""
        self._ticking = False
        now = self._loop.time()
        reason = (
            "earlier requests for this model take too long"
            if self.slots
            else "every predict worker is busy with other models"
        )
        # The time a model takes to load is not its requests' wait; it has a limit of its own.
        loading = any(slot.process is None for slot in self.slots)
        if loading and not any(slot.live for slot in self.slots):
            self._postpone()
        for ticket in self.pending:
            if ticket.deadline <= now:
                refuse(ticket, refusals.busy(reason))
        while self.pending and self.pending[0].answer.done():
            self.pending.popleft()
        if not self.pending or self._closed:
            return
        waited = now - (self.pending[0].deadline - self._limits.timeout_s)
        if waited >= TICK_S and not loading and self._places.free > 0:
            self._places.want(self)
        self._tick_later()

    def _postpone(self) -> None:
        deadline = self._loop.time() + self._limits.timeout_s
        for ticket in self.pending:
            ticket.deadline = deadline

    async def close(self) -> None:
        """Kill the processes for good; requests that wait fail. Harmless the second time."""
        self._closed = True
        self._refuse_all(refusals.closing())
        slots, self.slots = self.slots, []
        for slot in slots:
            if slot.expiry is not None:
                slot.expiry.cancel()
            if slot.process is not None:
                await slot.process.close()

    def _refuse_all(self, error: TrainboxError) -> None:
        while self.pending:
            refuse(self.pending.popleft(), error)
