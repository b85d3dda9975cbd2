"""The daemon itself: tasks, plugins, health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trainbox_sdk.calls.base import Principal
from trainbox_sdk.tasks import TaskInfo


@dataclass(frozen=True)
class PluginInfo:
    """One line of the plugin list.

    Attributes:
        status: ``loaded``, ``quarantined`` (broken and optional), ``not listed`` (installed, absent
            from plugins.toml, never imported) or ``missing`` (listed, not installed).
        provides: what it registered, such as ``task:regression``.
        health: ``ok``, or what is wrong with a loaded one now; empty for one that is not loaded.
    """

    name: str
    distribution: str
    version: str
    status: str
    required: bool
    provides: tuple[str, ...] = ()
    error: str = ""
    health: str = ""


@dataclass(frozen=True)
class Check:
    """One line of a health report."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Readiness:
    """Whether the daemon can take and run work, check by check."""

    ready: bool
    checks: tuple[Check, ...] = field(default=())


@dataclass(frozen=True)
class DrainState:
    """Whether new work is taken, and what is still there to end.

    Attributes:
        running: steps that hold a sandbox or are about to.
        queued: steps that wait and will not start while draining.
    """

    draining: bool
    running: int
    queued: int


class DaemonCalls(Protocol):
    """What can be asked of the daemon."""

    def tasks(self) -> Sequence[TaskInfo]:
        """List task types."""

    async def plugins(self) -> Sequence[PluginInfo]:
        """List plugins, loaded and not, and how each loaded one does now."""

    async def readiness(self) -> Readiness:
        """Look at store, backends and space now."""

    async def environments(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        """List the environments tasks need, and per backend whether they are built."""

    async def drain_state(self, who: Principal) -> DrainState:
        """Say whether new work is taken, and how much is there."""

    async def drain(self, who: Principal) -> DrainState:
        """Take no new job and start none that wait; what runs, runs on. Until undone or restart.

        Raises:
            Forbidden: needs ``admin``.
        """

    async def undrain(self, who: Principal) -> DrainState:
        """Take and start work again.

        Raises:
            Forbidden: needs ``admin``.
        """
