"""The fake engine's part of :mod:`trainbox_sdk.calls`: daemon."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainbox_sdk.engine import (
    PluginInfo,
    Principal,
    Readiness,
)
from trainbox_sdk.tasks import TaskInfo
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeDaemonCalls(FakeJobs):
    """In memory, by the same contract."""

    def tasks(self) -> Sequence[TaskInfo]:
        """List the one task."""
        self._enter("tasks")
        return (fake_data.TASK,)

    def plugins(self) -> Sequence[PluginInfo]:
        """List one plugin of each sort."""
        self._enter("plugins")
        return (
            PluginInfo(
                "fake", "trainbox", "0", "loaded", required=True, provides=("task:binclass",)
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
