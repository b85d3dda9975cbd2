"""Brings the world and the store together: adopts what should run, removes what should not.

The store is the truth about intent, the backend about what exists. A backend that cannot be reached
changes nothing. Only sandboxes labelled with this instance's id are ever touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from trainbox.engine.sandboxes import SandboxFiles, ref_of
from trainbox.engine.supervisor import Supervisor
from trainbox.states import ACTIVE
from trainbox.store import Store
from trainbox.store.records import StepRecord
from trainbox_sdk.backends import Observation, SandboxBackend
from trainbox_sdk.errors import Unavailable

log = logging.getLogger(__name__)


def orphans(seen: Mapping[str, Observation], wanted: AbstractSet[str]) -> tuple[Observation, ...]:
    """Return sandboxes that no active step owns. Pure."""
    return tuple(look for name, look in sorted(seen.items()) if name not in wanted)


class Reconciler:
    """Adopts and reaps, at start and then regularly."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, SandboxBackend],
        supervisor: Supervisor,
        files: SandboxFiles,
    ) -> None:
        self._store = store
        self._backends = backends
        self._supervisor = supervisor
        self._files = files

    async def run(self, every_s: float) -> None:
        """Look every so often; until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.look()
            except Unavailable as error:
                log.warning("reconcile waits", extra={"why": error.message})

    async def look(self) -> None:
        """Adopt every active step without a driver, then reap what nobody owns."""
        active = [s for s in await self._store.jobs.active_steps() if s.state in ACTIVE]
        for step in active:
            self._adopt(step)
        for backend in self._backends.values():
            await self._reap(backend)
        await self._sweep_folders()

    def _adopt(self, step: StepRecord) -> None:
        if self._supervisor.drives(step.id):
            return
        if step.backend not in self._backends:
            log.error("backend of a running step is not loaded", extra={"step": step.id})
            return
        log.info("adopted", extra={"step": step.id, "job": step.job_id, "state": step.state})
        self._supervisor.spawn(step)

    async def _reap(self, backend: SandboxBackend) -> None:
        try:
            seen = await backend.observe()
        except Unavailable as error:
            log.warning("cannot look", extra={"backend": backend.name, "why": error.message})
            return
        # Read after the look: a sandbox made meanwhile belongs to a driver by now.
        wanted = self._supervisor.sandbox_names() | await self._active_names()
        for look in orphans(seen, wanted):
            log.warning("orphan removed", extra={"sandbox": look.ref.name})
            await backend.remove(look.ref)

    async def _active_names(self) -> set[str]:
        steps = [s for s in await self._store.jobs.active_steps() if s.attempt_id]
        instance = self._store.instance
        return {ref_of(instance, s, role).name for s in steps for role in ("step", "check")}

    async def _sweep_folders(self) -> None:
        steps = [s for s in await self._store.jobs.active_steps() if s.attempt_id]
        keep = {f"{step.attempt_id}-{role}" for step in steps for role in ("step", "check")}
        await asyncio.to_thread(self._files.sweep, keep)
