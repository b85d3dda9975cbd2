"""Environments made runnable once, however many steps ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected


class Builds:
    """Remembers what is built, so that a warm start asks no engine.

    Args:
        environments: registered environments by name.
    """

    def __init__(self, environments: Mapping[str, Environment]) -> None:
        self._environments = environments
        self._built: dict[tuple[str, str], BuiltEnvironment] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def ensure(
        self, backend: SandboxBackend, name: str, report: BuildProgress
    ) -> BuiltEnvironment:
        """Return the environment on this backend, building it if needed.

        Raises:
            BackendRejected: no such environment, or it cannot be built here.
        """
        key = (backend.name, name)
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._built:
                environment = self._environments.get(name)
                if environment is None:
                    raise BackendRejected(f"no plugin registers an environment {name!r}")
                self._built[key] = await backend.build_environment(environment, report)
            return self._built[key]

    def forget(self, backend: str, name: str) -> None:
        """Drop what is remembered; the next step looks again."""
        self._built.pop((backend, name), None)
