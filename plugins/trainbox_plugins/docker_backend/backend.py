"""The docker backend: the verbs of the SDK over the engine port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainbox_plugins.backend_kit.handover import fit_for_guest
from trainbox_plugins.docker_backend.call_threads import CallThreads
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.creation import create
from trainbox_plugins.docker_backend.engine_host import (
    IdShift,
    capacity_of,
    confinement_of,
    id_shift,
    trouble_of,
)
from trainbox_plugins.docker_backend.engine_looks import failed_look, inspected, seen_dead
from trainbox_plugins.docker_backend.engine_mounts import engine_sees_mounts
from trainbox_plugins.docker_backend.engine_port import (
    EnginePort,
    EngineRefused,
)
from trainbox_plugins.docker_backend.environment_builder import EnvironmentBuilder
from trainbox_plugins.docker_backend.gpus import free_gpus
from trainbox_plugins.docker_backend.identities import Identities
from trainbox_plugins.docker_backend.policy import LABEL, sandbox_policy
from trainbox_plugins.docker_backend.promises import promises
from trainbox_plugins.docker_backend.running import Running
from trainbox_plugins.docker_backend.standby import Standby
from trainbox_plugins.docker_backend.standby_notes import Note
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
        self._shift: IdShift | None = None
        self._instance = ""
        self._running: dict[str, Running] = {}
        self.standby = Standby(engine, config, self._confinement)
        self._who = Identities(self.standby, config, self._confinement)

    async def open(self, instance: str, home: Path | None = None) -> None:
        """Take the instance id that sandboxes are labelled with; the engine may be away."""
        self._instance = instance
        self.standby.open(instance, home)

    async def close(self) -> None:
        """Let go of threads and connections; sandboxes go on, those that stand by do not."""
        await self.standby.close()
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
        self._shift = id_shift(info)
        kept = promises(info, self._config, self._confinement)
        trouble = trouble_of(info, self._config)
        sees_mounts = await asyncio.to_thread(engine_sees_mounts, self._config.socket_url)
        return Health(
            ok=not trouble,
            detail=trouble or f"Docker Engine {version}; {self.standby.sentence()}",
            version=version,
            promises=kept,
            untrusted=all(promise.level is not Level.NONE for promise in kept),
            sees_mounts=sees_mounts,
        )

    async def capacity(self) -> Capacity:
        """Return the budget: as set, or what the engine's host has, less the reserve."""
        if self._capacity is None:
            with failed_look():
                self._capacity = capacity_of(self._config, await self._engine.info())
        return self._capacity

    async def build_environment(
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment:
        """Make an image of the environment, or find the one there is."""
        return await self._builder.build(environment, report)

    async def environments(self) -> Sequence[BuiltEnvironment]:
        """List environment images."""
        with failed_look():
            return await self._builder.built()

    async def verify_environment(self, environment: Environment) -> BuiltEnvironment:
        """Import in the image once more, and hold it to the lock."""
        with failed_look():
            return await self._builder.verify(environment)

    async def prune_environments(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove images of users' requirements that nobody asks for."""
        with failed_look():
            return await self._builder.prune(keep=keep, unused_s=unused_s)

    # --- one sandbox

    async def prepare(self, spec: SandboxSpec) -> None:
        """Create the container, or take one that stands by; once for a reference."""
        if spec.gpus > len(self._config.gpu_devices):
            raise BackendRejected(
                f"{spec.gpus} GPUs asked, this backend has {len(self._config.gpu_devices)}",
                hint="name the device ids in gpu_devices",
            )
        body = sandbox_policy(spec, self._confinement)
        shift = await self._id_shift()
        uid, gid = self._confinement.uid + shift.uid, self._confinement.gid + shift.gid
        fit_for_guest(spec.paths, uid, gid)
        self.standby.make_room(spec.limits.memory_bytes)
        note = self.standby.handed(spec.ref.name)
        if note is not None:
            await self.standby.complete(note, body)
        elif not await self.standby.take(spec, body):
            await self._prepare_cold(spec)

    async def start(self, spec: SandboxSpec) -> None:
        """Attach the log, then start.

        Raises:
            NotFound: never prepared, or removed.
            BackendRejected: it cannot be started (``start_failed``); the container is gone again.
        """
        name = spec.ref.name
        if name in self._running:
            return
        note = self.standby.handed(name)
        if note is not None and await self._start_warm(spec, note):
            return
        # Always looked at, though it costs a round trip: the engine would run an ended one again.
        found = await inspected(self._engine, name)
        if found is None:
            raise NotFound(f"sandbox {name} was never prepared")
        if found["State"]["Status"] == "created":
            with self.standby.cold_start(name):
                await self._start(spec, str(found["Id"]))

    async def wait(self, spec: SandboxSpec) -> Observation:
        """Return once it is dead and its log is whole; see the SDK.

        One that was prepared and never started is not waited for: its phase says ``created``.
        """
        name = spec.ref.name
        note = self.standby.handed(name)
        running = self._running.get(name)
        if running is None:
            found = await inspected(self._engine, self._who.container(spec.ref))
            if found is None:
                return _lost(spec.ref)
            seen = self._who.seen(spec.ref, found)
            if seen.phase is Phase.CREATED:
                return seen
            running = self._look_after(spec, str(found["Id"]), warm=note is not None)
            running.adopt()
        try:
            ended = await running.ended()
        except Exception:
            self._let_go(name)  # its follower is done for; the next wait begins another
            raise
        found = await inspected(self._engine, self._who.container(spec.ref))
        if found is None or ended.exit_code is None:
            return _lost(spec.ref)
        judged = await running.judge(self._who.seen(spec.ref, found), ended)
        return replace(judged, confinement=self._who.held_by(spec.ref))

    async def observe(self) -> Mapping[str, Observation]:
        """Return this instance's sandboxes: one call, and one more for each that has ended."""
        with failed_look():
            summaries = await self._engine.list_by_label({f"{LABEL}instance": self._instance})
        seen = [item for item in map(self._who.seen_in_list, summaries) if item is not None]
        whole = await asyncio.gather(*(self._look_closer(item) for item in seen))
        return {item.ref.name: item for item in whole}

    async def stop(self, ref: SandboxRef, grace_s: float) -> None:
        """SIGTERM, then after the grace SIGKILL of every process; returns when it is dead."""
        container = self._who.container(ref)
        with failed_look():
            if not await self._engine.kill(container, "TERM"):
                return
        if await self._dead_within(ref, grace_s):
            return
        with failed_look():
            await self._engine.kill(container, "KILL")
        if not await self._dead_within(ref, self._config.start_deadline_s):
            raise BackendUnavailable(f"sandbox {ref.name} does not die: the engine's runtime hangs")

    async def remove(self, ref: SandboxRef) -> None:
        """Kill and forget; absent is fine."""
        with failed_look():
            await self._engine.remove(self._who.container(ref), force=True)
        self._let_go(ref.name)
        await self.standby.forget(ref.name)

    # --- inside

    async def _id_shift(self) -> IdShift:
        """Who a guest is on the host; asked once, since an engine changes it only by a restart."""
        if self._shift is None:
            with failed_look():
                self._shift = id_shift(await self._engine.info()) or IdShift()
        return self._shift

    async def _prepare_cold(self, spec: SandboxSpec) -> None:
        """Create the container; a name that is taken means that it has been created before."""
        with self.standby.cold_start(spec.ref.name):
            if not spec.gpus:
                return await create(self._engine, spec, self._confinement)
            async with self._gpu_choice:
                with failed_look():
                    devices = await free_gpus(self._engine, self._config, spec.gpus)
                confinement = replace(self._confinement, gpu_devices=devices)
                return await create(self._engine, spec, confinement)

    async def _start_warm(self, spec: SandboxSpec, note: Note) -> bool:
        """Give a sandbox that stands by the word; False where it has died, and is forgotten."""
        name = spec.ref.name
        waits = self.standby.waits(note)
        if not waits and self.standby.went(name):
            return True  # it runs or ran: the next wait takes it up
        running = self._look_after(spec, note.container_id, warm=True)
        try:
            if waits and not running.listens:
                await running.attach()
            if waits and self.standby.go(note, sandbox_policy(spec, self._confinement)):
                running.watch()
                return True
        except OSError as error:
            self._let_go(name)
            raise BackendUnavailable(f"sandbox {name} cannot be told to go: {error}") from error
        except BaseException:
            self._let_go(name)
            raise
        await self.remove(spec.ref)
        await self._prepare_cold(spec)
        return False

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

    def _look_after(self, spec: SandboxSpec, container_id: str, *, warm: bool = False) -> Running:
        name = spec.ref.name
        running = Running(
            self._engine,
            spec,
            container_id,
            self.standby.follower(name, container_id if warm else name),
            config=self._config,
            measuring=self._measuring,
            warm=warm,
        )
        self._running[name] = running
        return running

    def _let_go(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            running.close()

    async def _look_closer(self, seen: Observation) -> Observation:
        if seen.phase is not Phase.EXITED:
            return seen
        found = await inspected(self._engine, self._who.container(seen.ref))
        return seen if found is None else self._who.seen(seen.ref, found)

    async def _dead_within(self, ref: SandboxRef, limit_s: float) -> bool:
        """Whether it dies in time: told by its follower, or seen by looking where it has none."""
        running = self._running.get(ref.name)
        try:
            async with asyncio.timeout(limit_s):
                if running is not None:
                    await running.ended()
                else:
                    await seen_dead(self._engine, self._who.container(ref))
        except TimeoutError:
            return False
        return True


def _lost(ref: SandboxRef) -> Observation:
    return Observation(ref, Phase.EXITED, cause=Cause.LOST, detail="the container is gone")
