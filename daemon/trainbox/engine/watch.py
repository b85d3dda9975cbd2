"""Sees one sandbox to its end: until it dies, someone asks, or its time is over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from trainbox.clock import now
from trainbox.engine.patience import Notice, patiently
from trainbox_sdk.backends import Observation, SandboxBackend, SandboxSpec
from trainbox_sdk.errors import Unavailable


@dataclass(frozen=True)
class Ended:
    """How the watch ended.

    Attributes:
        timed_out: the deadline stopped it.
        engine_was_away: the backend could not be reached at some time.
    """

    seen: Observation
    timed_out: bool
    engine_was_away: bool


class Watch:
    """One look-out over one running sandbox.

    Args:
        backend: where it runs.
        spec: what was started.
        cancel: set when someone asks for the end.
        notice: told when the backend is away.
    """

    def __init__(
        self, backend: SandboxBackend, spec: SandboxSpec, cancel: asyncio.Event, notice: Notice
    ) -> None:
        self._backend = backend
        self._spec = spec
        self._cancel = cancel
        self._notice = notice
        self._away = False

    async def until_dead(self, deadline_at: datetime) -> Ended:
        """Return once the sandbox is dead, stopping it on request or at the deadline."""
        waiter = asyncio.create_task(self._patient_wait())
        cancel = asyncio.create_task(self._cancel.wait())
        try:
            remaining = max(0.0, (deadline_at - now()).total_seconds())
            done, _ = await asyncio.wait(
                {waiter, cancel}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED
            )
            if waiter not in done:
                await self._stop()
            seen = await waiter
            return Ended(seen, not done and not _ended_before(seen, deadline_at), self._away)
        finally:
            cancel.cancel()
            waiter.cancel()
            await asyncio.gather(cancel, waiter, return_exceptions=True)

    async def _patient_wait(self) -> Observation:
        return await patiently(lambda: self._backend.wait(self._spec), self._note_away)

    async def _stop(self) -> None:
        ref, grace_s = self._spec.ref, self._spec.limits.grace_s
        await patiently(lambda: self._backend.stop(ref, grace_s), self._note_away)

    async def _note_away(self, error: Unavailable) -> None:
        self._away = True
        await self._notice(error)


def _ended_before(seen: Observation, deadline_at: datetime) -> bool:
    """Whether it ended in time, unseen: the daemon, or the engine, was away at its deadline."""
    return seen.finished_at is not None and seen.finished_at < deadline_at
