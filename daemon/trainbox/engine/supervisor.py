"""Drives steps through their states: one driver per active attempt, each in its own task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from trainbox import logs
from trainbox.engine.drive import STOP_S, Driver
from trainbox.engine.workshop import Workshop
from trainbox.store.records import StepRecord

log = logging.getLogger(__name__)

CLEAN_UP_S = 10.0
"""Seconds a stop waits for drivers that only have to remove a dead sandbox."""


class Supervisor:
    """The running drivers, by attempt.

    A driver outlives its attempt's last state by the time it takes to clean up; the step may have
    been queued again by then, so that two attempts of one step can have drivers at once.

    Args:
        workshop: what every driver works with.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._slot_free: Callable[[], None] = _nobody
        self._drivers: dict[str, Driver] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def on_slot_free(self, call: Callable[[], None]) -> None:
        """Have ``call`` called whenever a step has ended and its resources are free."""
        self._slot_free = call

    def spawn(self, step: StepRecord, *, adopted: bool = False) -> bool:
        """Drive a step from where it stands; return whether a driver was made for it.

        An attempt that is driven already is left alone, but hears of a cancellation it missed.

        Args:
            step: as the store has it; its attempt is known.
            adopted: nobody watched it for a while: the daemon was away.
        """
        attempt = step.attempt_id
        assert attempt is not None, "only an attempt can be driven"
        known = self._drivers.get(attempt)
        if known is not None:
            if step.cancel_requested:
                known.cancel.set()
            return False
        if self._closed:
            return False
        earlier = [self._tasks[a] for a, d in self._drivers.items() if d.step.id == step.id]
        driver = Driver(self._workshop, step, adopted=adopted)
        self._drivers[attempt] = driver
        task = asyncio.create_task(self._run(driver, earlier), name=f"step {step.id}")
        self._tasks[attempt] = task
        task.add_done_callback(lambda _: self._forget(attempt))
        return True

    def cancel(self, step_id: str) -> None:
        """Tell the step's driver that someone asked; the request is on disk already."""
        for driver in self._drivers.values():
            if driver.step.id == step_id:
                driver.cancel.set()

    def attempts(self) -> set[str]:
        """Return the attempts that a driver is at work on, the cleaning up included."""
        return set(self._drivers)

    def steps(self) -> set[str]:
        """Return the steps whose attempts :meth:`attempts` names."""
        return {driver.step.id for driver in self._drivers.values()}

    async def close(self) -> None:
        """Detach: drivers end, their sandboxes run on and are adopted at the next start.

        A driver whose step has ended gets :data:`CLEAN_UP_S` to remove what is left of it: nobody
        would adopt that, and it would lie there until the next start.
        """
        self._closed = True
        cleaning = [task for attempt, task in self._tasks.items() if self._ended(attempt)]
        if cleaning:
            await asyncio.wait(cleaning, timeout=CLEAN_UP_S)
        pending = set(self._tasks.values())
        while pending:
            for task in pending:
                task.cancel()
            # Again after a while: a backend's code may lose a cancellation, as wait_for does.
            _, pending = await asyncio.wait(pending, timeout=2 * STOP_S)
        await self._workshop.builds.close()

    def _ended(self, attempt: str) -> bool:
        return self._drivers[attempt].step.state.terminal

    async def _run(self, driver: Driver, earlier: list[asyncio.Task[None]]) -> None:
        logs.bind(job_id=driver.step.job_id, attempt=driver.step.attempt_id or "", request_id="")
        try:
            # An earlier attempt's cleaning up would take this one's scratch with it.
            await driver.drive(earlier)
        except Exception:
            # A bug in one driver must not take the daemon down; the step says so.
            log.exception("driver failed", extra={"step": driver.step.id})
            await self._give_up(driver)

    async def _give_up(self, driver: Driver) -> None:
        try:
            await driver.give_up("the daemon failed while driving this step; see its log")
        except Exception:
            # Not even that could be written: the step stays as it is until the next reconcile.
            log.exception("step not ended", extra={"step": driver.step.id})

    def _forget(self, attempt: str) -> None:
        self._tasks.pop(attempt, None)
        self._drivers.pop(attempt, None)
        self._slot_free()


def _nobody() -> None:
    """Stand in until the scheduler is connected."""
