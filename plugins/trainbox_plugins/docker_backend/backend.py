"""The docker backend: the verbs of the SDK over the engine port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from trainbox_plugins.backend_kit.handover import fit_for_guest
from trainbox_plugins.docker_backend.call_threads import CallThreads
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_host import capacity_of, confinement_of, trouble_of
from trainbox_plugins.docker_backend.engine_mounts import engine_sees_mounts
from trainbox_plugins.docker_backend.engine_port import (
    Clash,
    EnginePort,
    EngineRefused,
    Json,
    NotThere,
)
from trainbox_plugins.docker_backend.observations import (
    observation_of_inspect,
    observation_of_summary,
)
from trainbox_plugins.docker_backend.policy import LABEL, sandbox_policy
from trainbox_plugins.docker_backend.promises import promises
from trainbox_plugins.docker_backend.running import Running
from trainbox_sdk.backends import (
    Capacity,
    Cause,
    Health,
    Level,
    Observation,
    Phase,
    SandboxRef,
    SandboxSpec,
)
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected, BackendUnavailable, NotFound

_DEATH_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.5)


class EnvironmentBuilder(Protocol):
    """Makes images of environments."""

    async def build(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        """Build, or find what is built."""

    async def built(self) -> Sequence[BuiltEnvironment]:
        """List what is built."""

    async def verify(self, environment: Environment) -> BuiltEnvironment:
        """Try what is built once more, and hold it to the lock."""

    async def prune(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove what was made for users' requirements and nobody asks for."""


class DockerBackend:
    """Runs each step in a locked-down container of a local Docker Engine.

    Args:
        engine: the port to it; this object owns it from now on.
        config: the admin's settings.
        builder: makes environment images.
    """

    name = "docker"

    def __init__(self, engine: EnginePort, config: Config, builder: EnvironmentBuilder) -> None:
        self._engine = engine
        self._config = config
        self._builder = builder
        self._confinement = confinement_of(config)
        self._measuring = CallThreads(2, "docker-measure")
        self._gpu_choice = asyncio.Lock()
        self._capacity: Capacity | None = None
        self._instance = ""
        self._home: Path | None = None
        self._running: dict[str, Running] = {}

    async def open(self, instance: str, home: Path | None = None) -> None:
        """Take the instance id that sandboxes are labelled with; the engine may be away."""
        self._instance = instance
        self._home = home

    async def close(self) -> None:
        """Let go of threads and connections; sandboxes go on."""
        for running in self._running.values():
            running.close()
        self._running.clear()
        self._measuring.close()
        await self._engine.close()

    # --- the host

    async def probe(self) -> Health:
        """Look at the engine now; an engine that is away is an answer, not an error."""
        try:
            info = await self._engine.info()
        except (BackendUnavailable, EngineRefused) as error:
            return Health(ok=False, detail=str(error))
        version = str(info.get("ServerVersion") or "")
        kept = promises(info, self._config, self._confinement)
        trouble = trouble_of(info, self._config)
        sees_mounts = await asyncio.to_thread(engine_sees_mounts, self._config.socket_url)
        return Health(
            ok=not trouble,
            detail=trouble or f"Docker Engine {version} on {info.get('OperatingSystem')}",
            version=version,
            promises=kept,
            untrusted=all(promise.level is not Level.NONE for promise in kept),
            sees_mounts=sees_mounts,
        )

    async def capacity(self) -> Capacity:
        """Return the budget: as set, or what the engine's host has, less the reserve."""
        if self._capacity is None:
            with _failed_look():
                self._capacity = capacity_of(self._config, await self._engine.info())
        return self._capacity

    async def build_environment(
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment:
        """Make an image of the environment, or find the one there is."""
        return await self._builder.build(environment, report)

    async def environments(self) -> Sequence[BuiltEnvironment]:
        """List environment images."""
        with _failed_look():
            return await self._builder.built()

    async def verify_environment(self, environment: Environment) -> BuiltEnvironment:
        """Import in the image once more, and hold it to the lock."""
        with _failed_look():
            return await self._builder.verify(environment)

    async def prune_environments(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove images of users' requirements that nobody asks for."""
        with _failed_look():
            return await self._builder.prune(keep=keep, unused_s=unused_s)

    # --- one sandbox

    async def prepare(self, spec: SandboxSpec) -> None:
        """Create the container; a name that is taken means that it has been created before."""
        if spec.gpus > len(self._config.gpu_devices):
            raise BackendRejected(
                f"{spec.gpus} GPUs asked, this backend has {len(self._config.gpu_devices)}",
                hint="name the device ids in gpu_devices",
            )
        sandbox_policy(spec, self._confinement)
        fit_for_guest(spec.paths, self._confinement.uid, self._confinement.gid)
        if spec.gpus:
            async with self._gpu_choice:
                await self._create(spec, await self._free_gpus(spec))
        else:
            await self._create(spec, ())

    async def start(self, spec: SandboxSpec) -> None:
        """Attach the log, then start.

        Raises:
            NotFound: never prepared, or removed.
            BackendRejected: it cannot be started (``start_failed``); the container is gone again.
        """
        name = spec.ref.name
        if name in self._running:
            return
        # Always looked at, though it costs a round trip: the engine would run an ended one again.
        found = await self._inspect(name)
        if found is None:
            raise NotFound(f"sandbox {name} was never prepared")
        if found["State"]["Status"] == "created":
            await self._start(spec, str(found["Id"]))

    async def wait(self, spec: SandboxSpec) -> Observation:
        """Return once it is dead and its log is whole; see the SDK.

        One that was prepared and never started is not waited for: its phase says ``created``.
        """
        name = spec.ref.name
        running = self._running.get(name)
        if running is None:
            found = await self._inspect(name)
            if found is None:
                return _lost(spec.ref)
            if found["State"]["Status"] == "created":
                return observation_of_inspect(spec.ref, found)
            running = self._look_after(spec, str(found["Id"]))
            running.adopt()
        try:
            ended = await running.ended()
        except Exception:
            self._let_go(name)  # its follower is done for; the next wait begins another
            raise
        found = await self._inspect(name)
        if found is None or ended.exit_code is None:
            return _lost(spec.ref)
        return await running.judge(observation_of_inspect(spec.ref, found), ended)

    async def observe(self) -> Mapping[str, Observation]:
        """Return this instance's sandboxes: one call, and one more for each that has ended."""
        with _failed_look():
            summaries = await self._engine.list_by_label({f"{LABEL}instance": self._instance})
        seen = [item for item in map(observation_of_summary, summaries) if item is not None]
        whole = await asyncio.gather(*(self._look_closer(item) for item in seen))
        return {item.ref.name: item for item in whole}

    async def stop(self, ref: SandboxRef, grace_s: float) -> None:
        """SIGTERM, then after the grace SIGKILL of every process; returns when it is dead."""
        name = ref.name
        with _failed_look():
            if not await self._engine.kill(name, "TERM"):
                return
        if await self._dead_within(name, grace_s):
            return
        with _failed_look():
            await self._engine.kill(name, "KILL")
        if not await self._dead_within(name, self._config.start_deadline_s):
            raise BackendUnavailable(f"sandbox {name} does not die: the engine's runtime hangs")

    async def remove(self, ref: SandboxRef) -> None:
        """Kill and forget; absent is fine."""
        with _failed_look():
            await self._engine.remove(ref.name, force=True)
        self._let_go(ref.name)

    # --- inside

    async def _create(self, spec: SandboxSpec, gpu_devices: tuple[str, ...]) -> None:
        confinement = replace(self._confinement, gpu_devices=gpu_devices)
        try:
            await self._engine.create(spec.ref.name, sandbox_policy(spec, confinement))
        except Clash:
            return  # the fence: this attempt has its sandbox already
        except NotThere as error:
            raise BackendRejected(
                f"environment image {spec.environment} is not on this engine",
                code="unknown_environment",
                hint="build it again: trainbox images build",
            ) from error
        except EngineRefused as error:
            raise BackendRejected(f"the engine refuses the sandbox: {error.explanation}") from error

    async def _start(self, spec: SandboxSpec, container_id: str) -> None:
        name = spec.ref.name
        running = self._look_after(spec, container_id)
        try:
            await running.attach()
            await self._engine.start(container_id)
        except EngineRefused as error:
            self._let_go(name)
            await self._engine.remove(name, force=True)
            raise BackendRejected(
                f"the sandbox could not be started: {error.explanation}",
                code=Cause.START_FAILED.value,
            ) from error
        except BaseException:
            # Unknown: it may run. The next start or wait looks, and takes it up.
            self._let_go(name)
            raise
        running.watch()

    def _look_after(self, spec: SandboxSpec, container_id: str) -> Running:
        running = Running(self._engine, spec, container_id, self._config, self._measuring)
        self._running[spec.ref.name] = running
        return running

    def _let_go(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            running.close()

    async def _free_gpus(self, spec: SandboxSpec) -> tuple[str, ...]:
        """Choose devices that no sandbox of any instance on this engine holds."""
        with _failed_look():
            summaries = await self._engine.list_by_label({})
        held = {
            device
            for summary in summaries
            if summary.get("State") in {"created", "running", "paused"}
            for device in str((summary.get("Labels") or {}).get(f"{LABEL}gpus", "")).split(",")
        }
        free = [device for device in self._config.gpu_devices if device not in held]
        if len(free) < spec.gpus:
            raise BackendUnavailable(f"{spec.gpus} GPUs asked, {len(free)} are free")
        return tuple(free[: spec.gpus])

    async def _look_closer(self, seen: Observation) -> Observation:
        if seen.phase is not Phase.EXITED:
            return seen
        found = await self._inspect(seen.ref.name)
        return seen if found is None else observation_of_inspect(seen.ref, found)

    async def _inspect(self, name: str) -> Json | None:
        with _failed_look():
            return await self._engine.inspect(name)

    async def _dead_within(self, name: str, limit_s: float) -> bool:
        """Whether it dies in time: told by its follower, or seen by looking where it has none."""
        running = self._running.get(name)
        try:
            async with asyncio.timeout(limit_s):
                if running is not None:
                    await running.ended()
                else:
                    await self._seen_dead(name)
        except TimeoutError:
            return False
        return True

    async def _seen_dead(self, name: str) -> None:
        for attempt in range(2**31):
            found = await self._inspect(name)
            if found is None or not found["State"]["Running"]:
                return
            await asyncio.sleep(_DEATH_PAUSES_S[min(attempt, len(_DEATH_PAUSES_S) - 1)])


@contextmanager
def _failed_look() -> Iterator[None]:
    """Read an engine's failure at a look, a kill or a removal as what it is: nothing is known yet.

    Engines answer 500 while they stop, or while a file system under them is busy.

    Raises:
        BackendUnavailable: the engine refused; ask again later.
    """
    try:
        yield
    except EngineRefused as error:
        raise BackendUnavailable(f"the Docker Engine failed: {error}") from error


def _lost(ref: SandboxRef) -> Observation:
    return Observation(ref, Phase.EXITED, cause=Cause.LOST, detail="the container is gone")
