"""The dialect against the kit every surface must pass, over the engine in memory."""

from __future__ import annotations

import pytest

from trainbox_plugins.custom_training.routes import CustomTrainingSurface
from trainbox_sdk.testing.surface import SurfaceContract

from . import tokens

FILE = "/api/v1/models/{model_id}/files/{artifact_id}"


class TestCustomTraining(SurfaceContract):
    @pytest.fixture(autouse=True)
    def _config(self, config):
        self.config = config

    def make_surface(self):
        return CustomTrainingSurface(self.config)

    def credentials(self):
        return tokens.bearer()

    def open_paths(self):
        return frozenset()
