"""Bring the custom-training dialect to the daemon, where it has a key to check tokens with."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence

from trainbox_plugins.custom_training import config
from trainbox_sdk import hookimpl
from trainbox_sdk.surfaces import Surface

log = logging.getLogger(__name__)


class Plugin:
    """The dialect under ``/api/v1/models`` and ``/api/v1/datasets``.

    Raises:
        BadKey: a key of the configuration that must not be used.
    """

    api = 1
    Config = config.Config

    def __init__(self, settings: config.Config | None = None) -> None:
        self._surfaces: list[Surface] = []
        if settings is None or not settings.has_key:
            log.info("custom training is off: it has no key; see docs/custom-training.md")
            return
        # Here, so that a daemon without a key does not load what reads tokens.
        routes = importlib.import_module("trainbox_plugins.custom_training.routes")
        self._surfaces.append(routes.CustomTrainingSurface(settings))

    @hookimpl
    def register_surfaces(self) -> Sequence[Surface]:
        """Return the one surface, or none."""
        return self._surfaces
