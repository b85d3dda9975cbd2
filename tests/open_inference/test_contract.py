"""The dialect against the kit every surface must pass, over the engine in memory."""

from __future__ import annotations

from trainbox_plugins.open_inference.routes import OpenInferenceSurface
from trainbox_sdk.testing.fake_engine import TOKEN
from trainbox_sdk.testing.surface import SurfaceContract


class TestOpenInference(SurfaceContract):
    def make_surface(self):
        return OpenInferenceSurface()

    def credentials(self):
        return {"Authorization": f"Bearer {TOKEN}"}

    def open_paths(self):
        return frozenset({"/v2/health/live", "/v2/health/ready"})
