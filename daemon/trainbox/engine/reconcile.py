"""Brings the world and the store together: adopts what should run, removes what should not.

The store is the truth about intent, the backend about what exists. A backend that cannot be reached
changes nothing. Only sandboxes labelled with this instance's id are ever touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.supervisor import Supervisor
from trainbox.recorder import NOBODY, Recorder
from trainbox.store import Store
from trainbox.store.records import Outcome, StepRecord
from trainbox_sdk.backends import Observation, SandboxBackend
from trainbox_sdk.errors import TrainboxError, Unavailable
from trainbox_sdk.jobs import State

log = logging.getLogger(__name__)


def orphans(seen: Mapping[str, Observation], wanted: AbstractSet[str]) -> tuple[Observation, ...]:
    """Return the sandboxes of attempts that are not ``wanted``. Pure."""
    return tuple(look for _, look in sorted(seen.items()) if look.ref.attempt_id not in wanted)


class Reconciler:
    """Adopts and reaps, at start and then regularly."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, SandboxBackend],
        supervisor: Supervisor,
        files: SandboxFiles,
        recorder: Recorder = NOBODY,
    ) -> None:
        self._recorder = recorder
        self._store = store
        self._backends = backends
        self._supervisor = supervisor
        self._files = files
        self._stranded: set[str] = set()
        self._scratch_swept = False

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
        for step in await self._store.jobs.active_steps():
            if step.backend in self._backends:
                if self._supervisor.spawn(step, adopted=True):
                    self._recorder.adopted("adopted")
            else:
                await self._strand(step)
        looked = [await self._reap(backend) for backend in self._backends.values()]
        if all(looked):
            await self._sweep_folders()
        if not self._scratch_swept:
            await self._sweep_scratch()
            self._scratch_swept = True

    async def _strand(self, step: StepRecord) -> None:
        """Say what keeps a step whose backend is not loaded; end it if someone asked."""
        why = f"its backend {step.backend!r} is not loaded"
        if step.cancel_requested:
            outcome = Outcome(reason_code="cancelled", reason=f"cancelled on request; {why}")
            await self._store.jobs.transition(step, step.state, State.CANCELLED, outcome)
        elif step.id not in self._stranded:
            self._stranded.add(step.id)
            self._recorder.adopted("stranded")
            text = f"{why}; list its plugin in plugins.toml and restart, or cancel the job"
            log.error("stranded", extra={"step": step.id, "why": why})
            await self._store.jobs.append_event(step.job_id, "warning", {"text": text})

    async def _reap(self, backend: SandboxBackend) -> bool:
        """Remove orphans; return whether the backend could be looked at and obeyed."""
        try:
            seen = await backend.observe()
            # Read after the look: an attempt is on disk before its sandbox exists.
            wanted = self._supervisor.attempts() | await self._active_attempts()
            for look in orphans(seen, wanted):
                log.warning("orphan removed", extra={"sandbox": look.ref.name})
                await backend.remove(look.ref)
                self._recorder.orphan_removed()
        except TrainboxError as error:
            log.warning("cannot look", extra={"backend": backend.name, "why": error.message})
            return False
        except Exception:
            # A plugin's fault makes its backend blind, not the daemon: this loop must go on.
            log.exception("look failed", extra={"backend": backend.name})
            return False
        return True

    async def _active_attempts(self) -> set[str]:
        return {s.attempt_id for s in await self._store.jobs.active_steps() if s.attempt_id}

    async def _sweep_folders(self) -> None:
        # Listed before the store is read, for the same reason.
        found = await asyncio.to_thread(self._files.attempts)
        dead = found - self._supervisor.attempts() - await self._active_attempts()
        await asyncio.to_thread(self._files.discard_attempts, dead)
        await self._rest_disks()

    async def _rest_disks(self) -> None:
        """Unmount what a daemon that was killed left mounted and nobody works with."""
        mounted = await asyncio.to_thread(self._files.writable.mounted_steps)
        if mounted:
            active = {step.id for step in await self._store.jobs.active_steps()}
            idle = mounted - active - self._supervisor.steps()
            await asyncio.to_thread(self._files.writable.rest, idle)

    async def _sweep_scratch(self) -> None:
        """Delete the scratch of steps that ended for good while nobody was there to clean up."""
        dead = set()
        for step_id in await asyncio.to_thread(self._files.writable.owners):
            step = await self._store.jobs.step(step_id)
            if step is None or step.state in {State.SUCCEEDED, State.CANCELLED}:
                dead.add(step_id)
        await asyncio.to_thread(self._files.writable.discard_all_of, dead)
