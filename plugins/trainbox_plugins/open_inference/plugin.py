"""Bring the Open Inference Protocol to the daemon."""

from __future__ import annotations

from collections.abc import Sequence

from trainbox_plugins.open_inference import config
from trainbox_plugins.open_inference.routes import OpenInferenceSurface
from trainbox_sdk import hookimpl
from trainbox_sdk.surfaces import Surface


class Plugin:
    """The ``/v2`` dialect."""

    api = 1
    Config = config.Config

    def __init__(self, settings: config.Config | None = None) -> None:
        self.config = settings or config.Config()

    @hookimpl
    def register_surfaces(self) -> Sequence[Surface]:
        """Return the one surface."""
        return [OpenInferenceSurface(self.config)]
