"""What needs plugins and backends and no daemon: building and listing environments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from trainbox.engine.health import Pulse
from trainbox.plugins import load_plugins, read_manifest
from trainbox.registry import Registry, build_registry
from trainbox.settings import Settings
from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.environments import (
    BuildProgress,
    BuiltEnvironment,
    Environment,
    EnvironmentKeeper,
)
from trainbox_sdk.errors import NotFound, TrainboxError, Unavailable

log = logging.getLogger(__name__)


def require_state_dir(path: Path) -> None:
    """Make the state directory, private to the daemon's user.

    Raises:
        Unavailable: it cannot be made or written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Unavailable(
            f"the state directory {path} cannot be written: {error.strerror}",
            code="state_dir_unwritable",
            hint="give TRAINBOX_STATE_DIR a directory that this user owns",
        ) from error


async def open_backends(
    stack: AsyncExitStack,
    backends: Mapping[str, SandboxBackend],
    instance: str,
    state_dir: Path | None = None,
) -> None:
    """Open every backend for an instance; they are closed with the stack.

    Args:
        stack: closes them.
        backends: by name.
        instance: whose sandboxes they run.
        state_dir: where each gets a directory of its own; None for building environments alone.
    """
    for name, backend in backends.items():
        home = state_dir / "backends" / name if state_dir is not None else None
        if home is not None:
            home.mkdir(parents=True, exist_ok=True)
        await backend.open(instance, home)
        stack.push_async_callback(backend.close)


Listed = tuple[Environment | None, BuiltEnvironment | None]


async def build_environments(
    settings: Settings, names: Sequence[str], backend: str | None, report: BuildProgress
) -> list[BuiltEnvironment]:
    """Build environments on a backend; all of them, on the first healthy one, by default.

    One that fails does not stop the others: what they have built stays.

    Raises:
        NotFound: unknown environment or backend.
        TrainboxError: a build failed, with what to do; the first of them.
    """
    async with _workbench(settings) as registry:
        chosen = await _choose(registry, backend)
        wanted = [_environment(registry, name) for name in names or registry.environments]
        shares = _Shares(report, len(wanted))
        builds = (
            chosen.build_environment(one, shares.report_of(number))
            for number, one in enumerate(wanted)
        )
        done = await asyncio.gather(*builds, return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in done if isinstance(outcome, BuiltEnvironment)]


class _Shares:
    """One bar for builds that go on side by side."""

    def __init__(self, report: BuildProgress, count: int) -> None:
        self._report = report
        self._fractions = [0.0] * count

    def report_of(self, number: int) -> BuildProgress:
        """Return what one build reports to."""

        def report(fraction: float, sentence: str) -> None:
            self._fractions[number] = max(fraction, self._fractions[number])
            self._report(sum(self._fractions) / len(self._fractions), sentence)

        return report


async def list_environments(
    settings: Settings, *, everything: bool = False
) -> list[tuple[Environment | None, BuiltEnvironment | None]]:
    """Return every environment with each of its builds; None where there is none.

    Args:
        settings: of the daemon.
        everything: also what was built of other locks, and for users' requirements; those come
            without an environment.
    """
    async with _workbench(settings) as registry:
        built = []
        for backend in registry.backends.values():
            try:
                built += list(await backend.environments())
            except TrainboxError as error:
                log.debug("cannot list", extra={"backend": backend.name, "why": error.message})
    rows: list[Listed] = []
    for environment in registry.environments.values():
        found = [one for one in built if one.digest == environment.digest]
        rows += [(environment, one) for one in found] or [(environment, None)]
    listed = [one for _, one in rows]
    return rows + [(None, one) for one in built if everything and one not in listed]


async def verify_environments(
    settings: Settings, names: Sequence[str], backend: str | None
) -> list[tuple[Environment, BuiltEnvironment | TrainboxError]]:
    """Try what is built once more; each with what it is, or what is wrong with it.

    Raises:
        NotFound: unknown environment or backend, or a backend that has no way to.
    """
    async with _workbench(settings) as registry:
        keeper = await _keeper(registry, backend)
        wanted = [_environment(registry, name) for name in names or registry.environments]
        seen: list[tuple[Environment, BuiltEnvironment | TrainboxError]] = []
        for one in wanted:
            try:
                seen.append((one, await keeper.verify_environment(one)))
            except TrainboxError as error:
                seen.append((one, error))
        return seen


async def prune_environments(
    settings: Settings, backend: str | None, *, keep: int, unused_s: float
) -> Sequence[BuiltEnvironment]:
    """Remove environments made for users' requirements that no step asked for; return them.

    Raises:
        NotFound: unknown backend, or one that has no way to.
    """
    async with _workbench(settings) as registry:
        keeper = await _keeper(registry, backend)
        return await keeper.prune_environments(keep=keep, unused_s=unused_s)


@asynccontextmanager
async def _workbench(settings: Settings) -> AsyncIterator[Registry]:
    require_state_dir(settings.state_dir)
    registry = build_registry(load_plugins(read_manifest(settings.plugins_file)))
    async with AsyncExitStack() as stack:
        await open_backends(stack, registry.backends, "workbench")
        yield registry


async def _choose(registry: Registry, name: str | None) -> SandboxBackend:
    wanted = name or await Pulse(registry.backends).first_healthy()
    if wanted is None or wanted not in registry.backends:
        known = ", ".join(registry.backends) or "none"
        raise NotFound(
            f"no backend {name!r}" if name else "no backend is usable now", hint=f"known: {known}"
        )
    return registry.backends[wanted]


async def _keeper(registry: Registry, name: str | None) -> EnvironmentKeeper:
    chosen = await _choose(registry, name)
    if not isinstance(chosen, EnvironmentKeeper):
        raise NotFound(f"the backend {chosen.name} cannot do this with its environments")
    return chosen


def _environment(registry: Registry, name: str) -> Environment:
    if name not in registry.environments:
        known = ", ".join(registry.environments)
        raise NotFound(f"no environment {name!r}", hint=f"known: {known}")
    return registry.environments[name]
