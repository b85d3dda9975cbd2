"""What is known of the backends' health, looked at no more often than needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from trainbox_sdk.backends import Health, SandboxBackend
from trainbox_sdk.errors import TrainboxError

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""Seconds a look is good for: a start must not pay a probe, a dead engine must show soon."""


class Pulse:
    """The last look at each backend."""

    def __init__(self, backends: Mapping[str, SandboxBackend]) -> None:
        self._backends = backends
        self._seen: dict[str, tuple[float, Health]] = {}

    async def health(self, name: str) -> Health:
        """Return the backend's health, at most :data:`FRESH_S` seconds old."""
        at, health = self._seen.get(name, (float("-inf"), None))
        if health is None or time.monotonic() - at > FRESH_S:
            health = await self._look(name)
            self._seen[name] = (time.monotonic(), health)
        return health

    async def first_healthy(self) -> str | None:
        """Return the first backend, in plugins.toml order, that is usable now."""
        for name in self._backends:
            if (await self.health(name)).ok:
                return name
        return None

    async def _look(self, name: str) -> Health:
        try:
            return await self._backends[name].probe()
        except TrainboxError as error:
            return Health(ok=False, detail=error.message)
        except Exception as error:
            # A plugin's fault makes its backend unusable, not the daemon.
            log.exception("probe failed", extra={"backend": name})
            return Health(ok=False, detail=f"its probe failed: {error!r}")
