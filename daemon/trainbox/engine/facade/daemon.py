"""The daemon itself, as surfaces see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.calls.daemon import DrainState
from trainbox_sdk.engine import (
    Check,
    PluginInfo,
    Principal,
    Readiness,
)
from trainbox_sdk.tasks import TaskInfo


class DaemonDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.daemon.DaemonCalls`."""

    def tasks(self) -> Sequence[TaskInfo]:
        """List task types."""
        return self._r.registry.task_infos()

    async def plugins(self) -> Sequence[PluginInfo]:
        """List plugins and how each does."""
        return await self._r.readiness.plugins(self._r.plugins())

    async def readiness(self) -> Readiness:
        """Look at store, backends and space now."""
        checks: tuple[Check, ...] = await self._r.readiness.checks()
        return Readiness(all(check.ok for check in checks), checks)

    async def environments(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        """List environments and where they are built."""
        self._r.access.require(who, "read")
        return await self._r.readiness.environments()

    async def drain_state(self, who: Principal) -> DrainState:
        """Say whether new work is taken, and how much is there."""
        self._r.access.require(who, "admin")
        return await self._drain_state()

    async def drain(self, who: Principal) -> DrainState:
        """Take no new work."""
        return await self._set_drain(who, draining=True)

    async def undrain(self, who: Principal) -> DrainState:
        """Take work again."""
        return await self._set_drain(who, draining=False)

    async def _set_drain(self, who: Principal, *, draining: bool) -> DrainState:
        self._r.access.require(who, "admin")
        if self._r.drain.draining is not draining:
            # Written first: a switch that nobody can account for is not thrown.
            act = "daemon.drain" if draining else "daemon.undrain"
            await self._r.store.audit.append(who.actor, act, "daemon")
            self._r.drain.draining = draining
            self._r.scheduler.wake()
        return await self._drain_state()

    async def _drain_state(self) -> DrainState:
        active = await self._r.store.jobs.active_steps()
        queued = await self._r.store.statistics.queued_steps()
        return DrainState(self._r.drain.draining, len(active), queued)
