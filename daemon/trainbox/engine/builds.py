"""Environments made runnable once, however many steps ask at the same time."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainbox.blobs import BlobStore
from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected
from trainbox_sdk.tasks import StepPlan

log = logging.getLogger(__name__)

REPORT_S = 2.0
"""Seconds between two messages about one build."""
WISHES_KEPT_S = 3600.0
"""Seconds for which the build of a user's requirements is remembered: then its backend is asked
again, and so knows what is still in use."""


@dataclass(frozen=True)
class Wish:
    """A user's requirements file.

    Attributes:
        name: as the user called it.
        digest: of its bytes.
        path: where they are.
    """

    name: str
    digest: str
    path: Path


def wishes_of(plan: StepPlan, blobs: BlobStore) -> tuple[Wish, ...]:
    """Return the requirements files of a step, in the order its plan names them."""
    files = {file.name: file for file in plan.files}
    wanted = [files[name] for name in plan.requirements]
    return tuple(Wish(file.name, file.digest, blobs.path(file.digest)) for file in wanted)


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


@dataclass(frozen=True)
class _Key:
    """What is built once: an environment on a backend, with the wishes of these contents."""

    backend: str
    name: str
    wishes: tuple[str, ...]


class _Build:
    """One build under way, and who hears of its progress."""

    def __init__(
        self, backend: SandboxBackend, environment: Environment, wishes: Sequence[Wish]
    ) -> None:
        self.listeners: list[BuildProgress] = []
        self.task = asyncio.create_task(self._make(backend, environment, wishes))

    async def _make(
        self, backend: SandboxBackend, environment: Environment, wishes: Sequence[Wish]
    ) -> BuiltEnvironment:
        if not wishes:
            return await backend.build_environment(environment, self._report)
        # Copies: the build goes on for others where the first job and its files are deleted.
        with tempfile.TemporaryDirectory(prefix="trainbox-wishes-") as folder:
            paths = await asyncio.to_thread(_copied, wishes, Path(folder))
            wished = replace(environment, wishes=paths)
            return await backend.build_environment(wished, self._report)

    def _report(self, fraction: float, sentence: str) -> None:
        for listener in tuple(self.listeners):
            listener(fraction, sentence)


def _copied(wishes: Sequence[Wish], folder: Path) -> tuple[Path, ...]:
    paths = []
    for number, wish in enumerate(wishes):
        (folder / str(number)).mkdir()
        paths.append(folder / str(number) / wish.name)
        shutil.copyfile(wish.path, paths[-1])
    return tuple(paths)


class Builds:
    """Remembers what is built, so that a warm start asks no engine.

    Args:
        environments: registered environments by name.
    """

    def __init__(self, environments: Mapping[str, Environment]) -> None:
        self._environments = environments
        self._built: dict[_Key, tuple[BuiltEnvironment, float]] = {}
        self._running: dict[_Key, _Build] = {}

    async def ensure(
        self,
        backend: SandboxBackend,
        name: str,
        report: BuildProgress,
        wishes: Sequence[Wish] = (),
    ) -> BuiltEnvironment:
        """Return the environment on this backend, building it if needed.

        A caller that is cancelled leaves the build at work: others may wait for it, and a builder's
        thread could not be stopped anyway.

        Raises:
            BackendRejected: no such environment, or it cannot be built here.
        """
        key = _Key(backend.name, name, tuple(wish.digest for wish in wishes))
        known = self._known(key)
        if known is not None:
            return known
        build = self._running.get(key) or self._begin(key, backend, wishes)
        build.listeners.append(report)
        try:
            return await asyncio.shield(build.task)
        finally:
            build.listeners.remove(report)

    def environment(self, name: str) -> Environment | None:
        """Return what a plugin registered under a name, or None."""
        return self._environments.get(name)

    def modules(self, entry: str, environment: str) -> tuple[str, ...]:
        """Return what a sandbox that stands by for an entry imports, the most certain first."""
        found = self.environment(environment)
        libraries = () if found is None else found.warm_imports
        return (entry.partition(":")[0], *libraries)

    def forget(self, backend: str, name: str) -> None:
        """Drop what is remembered; the next step looks again."""
        for key in [key for key in self._built if (key.backend, key.name) == (backend, name)]:
            del self._built[key]

    async def close(self) -> None:
        """Leave builds under way; the next start of the daemon begins them again."""
        tasks = [build.task for build in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _known(self, key: _Key) -> BuiltEnvironment | None:
        built, until = self._built.get(key, (None, 0.0))
        if built is not None and time.monotonic() >= until:
            del self._built[key]
            return None
        return built

    def _begin(self, key: _Key, backend: SandboxBackend, wishes: Sequence[Wish]) -> _Build:
        environment = self._environments.get(key.name)
        if environment is None:
            raise BackendRejected(f"no plugin registers an environment {key.name!r}")
        build = self._running[key] = _Build(backend, environment, wishes)
        build.task.add_done_callback(lambda done: self._end(key, done))
        return build

    def _end(self, key: _Key, done: asyncio.Task[BuiltEnvironment]) -> None:
        del self._running[key]
        # Looked at even where nobody waits any more: an error nobody fetched is reported as a bug.
        if not done.cancelled() and done.exception() is None:
            kept_s = WISHES_KEPT_S if key.wishes else float("inf")
            self._built[key] = done.result(), time.monotonic() + kept_s
