"""The process backend as a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainbox_plugins.process_backend import config as settings
from trainbox_plugins.process_backend.backend import ProcessBackend
from trainbox_sdk import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainbox_sdk.backends import SandboxBackend


class Plugin:
    """Brings the ``process`` backend."""

    api = 1
    Config = settings.Config

    def __init__(self, config: settings.Config) -> None:
        self._config = config

    @hookimpl
    def register_backends(self) -> Sequence[SandboxBackend]:
        """Return the one backend."""
        return [ProcessBackend(self._config)]
