"""For tests: a backend each of whose sandboxes has stood by before it had its job."""

from __future__ import annotations

import contextlib
from pathlib import Path

from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.docker_backend.environment_builder import EnvironmentBuilder
from trainbox_sdk.backends import SandboxSpec
from trainbox_sdk.errors import BackendRejected, BackendUnavailable


class WarmDocker(DockerBackend):
    """Has one stand by for every sandbox that it is asked to prepare, and takes that one.

    Args:
        home: its own directory, for whoever opens it without one.
        builder: makes environment images.
        config: as for any other; standby is switched on.
    """

    def __init__(self, home: Path, builder: EnvironmentBuilder, config: Config) -> None:
        super().__init__(DockerEngine(), config.model_copy(update={"standby": "on"}), builder)
        self._test_home = home

    async def open(self, instance: str, home: Path | None = None) -> None:
        """Open it in the directory it was made with."""
        self._test_home.mkdir(exist_ok=True)
        await super().open(instance, home or self._test_home)

    async def prepare(self, spec: SandboxSpec) -> None:
        """Prepare one that has stood by.

        Raises:
            AssertionError: it would start cold.
        """
        # What cannot stand by is refused in the ordinary way.
        with contextlib.suppress(BackendRejected, BackendUnavailable):
            await self.standby.fill(spec)
        await super().prepare(spec)
        if self.standby.handed(spec.ref.name) is None:
            raise AssertionError(f"{spec.ref.name} starts cold: {self.standby.sentence()}")
