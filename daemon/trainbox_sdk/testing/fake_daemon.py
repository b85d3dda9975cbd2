"""The fake engine's part of :mod:`trainbox_sdk.calls`: daemon."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainbox_sdk.calls.daemon import DrainState
from trainbox_sdk.engine import (
    PluginInfo,
    Principal,
    Readiness,
)
from trainbox_sdk.errors import Forbidden
from trainbox_sdk.tasks import TaskInfo
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


def _require_admin(who: Principal) -> None:
    if "admin" not in who.scopes:
        raise Forbidden(
            f"token {who.name!r} lacks the scope 'admin'", hint="use a token that has it"
        )


class FakeDaemonCalls(FakeJobs):
    """In memory, by the same contract."""

    draining = False

    def tasks(self) -> Sequence[TaskInfo]:
        """List the one task, and what a test has added."""
        self._enter("tasks")
        return (fake_data.TASK, *self.further_tasks)

    async def plugins(self) -> Sequence[PluginInfo]:
        """List one plugin of each sort."""
        self._enter("plugins")
        return (
            PluginInfo(
                "fake",
                "trainbox",
                "0",
                "loaded",
                required=True,
                provides=("task:binclass",),
                health="ok",
            ),
            PluginInfo(
                "broken", "acme", "1", "quarantined", required=False, error="ImportError: x"
            ),
        )

    async def readiness(self) -> Readiness:
        """Report the checks a test has set."""
        self._enter("readiness")
        return Readiness(all(check.ok for check in self.checks), self.checks)

    async def environments(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        """List one environment."""
        self._enter("environments")
        del who
        build = {"backend": "fake", "reference": "fake", "bytes": 1, "base": "", "created_at": None}
        return ({"name": "tabular", "python": "3.11", "digest": "0" * 64, "builds": [build]},)

    async def drain_state(self, who: Principal) -> DrainState:
        """Say what the switch says."""
        self._enter("drain_state")
        _require_admin(who)
        return DrainState(self.draining, running=0, queued=0)

    async def drain(self, who: Principal) -> DrainState:
        """Throw the switch."""
        self._enter("drain")
        _require_admin(who)
        self.draining = True
        return DrainState(self.draining, running=0, queued=0)

    async def undrain(self, who: Principal) -> DrainState:
        """Throw it back."""
        self._enter("undrain")
        _require_admin(who)
        self.draining = False
        return DrainState(self.draining, running=0, queued=0)
