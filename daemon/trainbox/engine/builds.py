"""Environments made runnable once, however many steps ask at the same time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any

from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected

log = logging.getLogger(__name__)

REPORT_S = 2.0
"""Seconds between two messages about one build."""


class BuildReport:
    """Turns a build's progress into events, at most one every :data:`REPORT_S` seconds.

    Args:
        name: the environment.
        tell: stores a message about the job.
    """

    def __init__(self, name: str, tell: Callable[[str, str], Coroutine[Any, Any, None]]) -> None:
        self._name = name
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._last = float("-inf")

    def __call__(self, fraction: float, sentence: str) -> None:
        """Report from any thread."""
        if time.monotonic() - self._last < REPORT_S and fraction < 1.0:
            return
        self._last = time.monotonic()
        text = f"environment {self._name}: {sentence} ({fraction:.0%})"
        told = asyncio.run_coroutine_threadsafe(self._tell("message", text), self._loop)
        told.add_done_callback(_note_failure)


def _note_failure(told: Future[None]) -> None:
    if not told.cancelled() and told.exception() is not None:
        log.warning("progress was not stored", extra={"why": str(told.exception())})


class _Build:
    """One build under way, and who hears of its progress."""

    def __init__(self, backend: SandboxBackend, environment: Environment) -> None:
        self.listeners: list[BuildProgress] = []
        self.task = asyncio.create_task(backend.build_environment(environment, self._report))

    def _report(self, fraction: float, sentence: str) -> None:
        for listener in tuple(self.listeners):
            listener(fraction, sentence)


class Builds:
    """Remembers what is built, so that a warm start asks no engine.

    Args:
        environments: registered environments by name.
    """

    def __init__(self, environments: Mapping[str, Environment]) -> None:
        self._environments = environments
        self._built: dict[tuple[str, str], BuiltEnvironment] = {}
        self._running: dict[tuple[str, str], _Build] = {}

    async def ensure(
        self, backend: SandboxBackend, name: str, report: BuildProgress
    ) -> BuiltEnvironment:
        """Return the environment on this backend, building it if needed.

        A caller that is cancelled leaves the build at work: others may wait for it, and a builder's
        thread could not be stopped anyway.

        Raises:
            BackendRejected: no such environment, or it cannot be built here.
        """
        key = (backend.name, name)
        if key in self._built:
            return self._built[key]
        build = self._running.get(key) or self._begin(key, backend)
        build.listeners.append(report)
        try:
            return await asyncio.shield(build.task)
        finally:
            build.listeners.remove(report)

    def environment(self, name: str) -> Environment | None:
        """Return what a plugin registered under a name, or None."""
        return self._environments.get(name)

    def forget(self, backend: str, name: str) -> None:
        """Drop what is remembered; the next step looks again."""
        self._built.pop((backend, name), None)

    async def close(self) -> None:
        """Leave builds under way; the next start of the daemon begins them again."""
        tasks = [build.task for build in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, key: tuple[str, str], backend: SandboxBackend) -> _Build:
        environment = self._environments.get(key[1])
        if environment is None:
            raise BackendRejected(f"no plugin registers an environment {key[1]!r}")
        build = self._running[key] = _Build(backend, environment)
        build.task.add_done_callback(lambda done: self._end(key, done))
        return build

    def _end(self, key: tuple[str, str], done: asyncio.Task[BuiltEnvironment]) -> None:
        del self._running[key]
        # Looked at even where nobody waits any more: an error nobody fetched is reported as a bug.
        if not done.cancelled() and done.exception() is None:
            self._built[key] = done.result()
