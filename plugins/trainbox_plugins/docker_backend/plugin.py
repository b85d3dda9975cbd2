"""Registers the docker backend."""

from __future__ import annotations

from collections.abc import Sequence

from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config as DockerConfig
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.docker_backend.image_base import ImageSettings
from trainbox_plugins.docker_backend.images import ImageBuilder
from trainbox_plugins.environments.cache import default_cache_dir
from trainbox_sdk import hookimpl
from trainbox_sdk.backends import SandboxBackend


class Plugin:
    """The docker backend as a plugin.

    Args:
        config: its settings; the defaults suit a local engine.
    """

    api = 1
    Config = DockerConfig

    def __init__(self, config: DockerConfig | None = None) -> None:
        self._config = config or DockerConfig()

    @hookimpl
    def register_backends(self) -> Sequence[SandboxBackend]:
        """Return the docker backend; the engine need not be there yet."""
        config = self._config
        engine = DockerEngine(
            config.socket_url,
            deadline_s=config.call_deadline_s,
            start_deadline_s=config.start_deadline_s,
        )
        settings = ImageSettings(
            cache_dir=config.cache_dir or default_cache_dir(),
            wheelhouse=config.wheelhouse,
            registry_base=config.registry_base,
            python_prefixes=config.python_prefixes,
        )
        return [DockerBackend(engine, config, ImageBuilder(engine, settings))]
