"""The daemon itself, as surfaces see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.engine.facade.rooms import Desk
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

    def plugins(self) -> Sequence[PluginInfo]:
        """List plugins."""
        return self._r.plugins()

    async def readiness(self) -> Readiness:
        """Look at store, backends and space now."""
        checks: tuple[Check, ...] = await self._r.readiness.checks()
        return Readiness(all(check.ok for check in checks), checks)

    async def environments(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        """List environments and where they are built."""
        self._r.access.require(who, "read")
        return await self._r.readiness.environments()
