"""Drives steps through their states: one driver per active step, each in its own task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from trainbox.engine.drive import Driver, Workshop
from trainbox.store.records import StepRecord

log = logging.getLogger(__name__)


class Supervisor:
    """The running drivers.

    Args:
        workshop: what every driver works with.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._slot_free: Callable[[], None] = _nobody
        self._drivers: dict[str, Driver] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def on_slot_free(self, call: Callable[[], None]) -> None:
        """Have ``call`` called whenever a step has ended and its resources are free."""
        self._slot_free = call

    def spawn(self, step: StepRecord) -> None:
        """Drive a step from where it stands; a step that is driven already is left alone."""
        if step.id in self._tasks:
            return
        driver = Driver(self._workshop, step)
        self._drivers[step.id] = driver
        task = asyncio.create_task(self._run(driver), name=f"step {step.id}")
        self._tasks[step.id] = task
        task.add_done_callback(lambda _: self._forget(step.id))

    def cancel(self, step_id: str) -> None:
        """Tell the driver that someone asked; the request is on disk already."""
        driver = self._drivers.get(step_id)
        if driver is not None:
            driver.cancel.set()

    def drives(self, step_id: str) -> bool:
        """Whether a driver is at work on this step."""
        return step_id in self._tasks

    def sandbox_names(self) -> set[str]:
        """Return the names of all sandboxes that may exist because of a driver."""
        return {name for driver in self._drivers.values() for name in driver.sandbox_names()}

    async def close(self) -> None:
        """Detach: drivers end, their sandboxes run on and are adopted at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, driver: Driver) -> None:
        try:
            await driver.drive()
        except Exception:  # a bug in one driver must not take the daemon down; the step says so
            log.exception("driver failed", extra={"step": driver.step.id})
            await driver.give_up("the daemon failed while driving this step; see its log")

    def _forget(self, step_id: str) -> None:
        self._tasks.pop(step_id, None)
        self._drivers.pop(step_id, None)
        self._slot_free()


def _nobody() -> None:
    """Stand in until the scheduler is connected."""
