"""One sandbox that stands by: made, found ready, thrown away. Decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from trainbox_plugins.docker_backend import cgroups
from trainbox_plugins.docker_backend.call_threads import CallThreads
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_port import EnginePort, EngineRefused, Json
from trainbox_plugins.docker_backend.follower import Follower
from trainbox_plugins.docker_backend.slot_directory import SlotDirectory
from trainbox_plugins.docker_backend.standby_class import StandbyClass, slot_body, slot_name
from trainbox_sdk.errors import BackendUnavailable

_LOOK_S = 0.02
_INSPECT_EVERY = 25
_SHARE = 4
"""Imports end once they hold this part of the memory limit: the job may not want all of them."""
MOUNT_DEADLINE_S = 10.0
"""Seconds for a slot's mounts, which wait only for others at work on the same table."""


class NeverReady(Exception):
    """It started and did not come to wait."""


@dataclass(frozen=True)
class Slot:
    """A sandbox that waits for a job.

    Attributes:
        pid: of its first process, on this host.
        follower: attached to its output, without a log yet.
        made_at: on the monotonic clock.
    """

    id: str
    kind: StandbyClass
    container_id: str
    pid: int
    directory: SlotDirectory
    follower: Follower
    made_at: float


class SlotMaker:
    """Makes and removes slots on one engine.

    Args:
        threads: for what blocks on the mount table.
    """

    def __init__(self, engine: EnginePort, config: Config, threads: CallThreads) -> None:
        self._engine = engine
        self._config = config
        self._threads = threads

    async def make(self, kind: StandbyClass, instance: str, folder: Path) -> Slot:
        """Start a sandbox and return once it waits; what fails leaves nothing behind.

        Args:
            kind: what to make.
            instance: whose it is.
            folder: where slots' directories lie.

        Raises:
            NeverReady: it ended, or did not come to wait in time.
            OSError: its directory cannot be made or mounted.
            EngineRefused, BackendUnavailable: the engine's own.
        """
        slot = uuid.uuid4().hex[:16]
        directory = SlotDirectory(folder / slot)
        plan = {
            "modules": kind.modules,
            "enough_bytes": kind.body["HostConfig"]["Memory"] // _SHARE,
            "patience_s": 2 * self._config.standby_max_age_s,
        }
        try:
            await self._threads.run(lambda: directory.make(plan, kind.early), MOUNT_DEADLINE_S)
            return await self._start(kind, instance, slot, directory)
        except BaseException:
            with contextlib.suppress(OSError, TimeoutError):
                await self.clear(directory)
            raise

    async def discard(self, slot: Slot) -> None:
        """Remove a slot whose job never came.

        Raises:
            EngineRefused, BackendUnavailable: it may still be there; its label says whose it is.
        """
        slot.follower.close()
        await self._engine.remove(slot.container_id, force=True)
        await self.clear(slot.directory)

    async def settle(self, directory: SlotDirectory) -> None:
        """Take the mounts of a slot that has its job off the host.

        Raises:
            OSError: the kernel refuses.
        """
        await self._threads.run(directory.unmount, MOUNT_DEADLINE_S)

    async def clear(self, directory: SlotDirectory) -> None:
        """Delete the directory of a slot whose sandbox is gone.

        Raises:
            OSError: it is still mounted somewhere below.
        """
        if directory.path.exists():
            await self._threads.run(directory.delete, MOUNT_DEADLINE_S)

    def memory_bytes(self, slot: Slot) -> int:
        """Return what a slot holds now; an estimate where the kernel does not tell."""
        held = cgroups.memory_held(slot.container_id, self._config.cgroup_parent or "")
        return ESTIMATE_BYTES if held is None else held

    async def _start(
        self, kind: StandbyClass, instance: str, slot: str, directory: SlotDirectory
    ) -> Slot:
        body = slot_body(kind, instance, slot, str(directory.root))
        container = await self._create(slot_name(instance, slot), body)
        follower = Follower(self._engine, container, reconnect_s=self._config.reconnect_s)
        try:
            follower.begin(fresh=True)
            await asyncio.wrap_future(follower.attached)
            await self._engine.start(container)
            pid = await self._ready(container, directory)
        except BaseException:
            follower.close()
            with contextlib.suppress(EngineRefused, BackendUnavailable):
                await self._engine.remove(container, force=True)
            raise
        return Slot(slot, kind, container, pid, directory, follower, time.monotonic())

    async def _create(self, name: str, body: Json) -> str:
        """Create a container; where that is cancelled half way, remove what comes of it."""
        creating = asyncio.ensure_future(self._engine.create(name, body))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            with contextlib.suppress(EngineRefused, BackendUnavailable):
                await self._engine.remove(await creating, force=True)
            raise

    async def _ready(self, container: str, directory: SlotDirectory) -> int:
        """Return the first process's id once the sandbox waits at its gate."""
        try:
            async with asyncio.timeout(self._config.start_deadline_s):
                for look in range(2**31):
                    waits = directory.waits()
                    if waits or look % _INSPECT_EVERY == 0:
                        pid = await self._pid(container)
                        if waits:
                            return pid
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError as error:
            raise NeverReady(f"it did not come to wait: {error}") from error
        raise AssertionError("unreachable")

    async def _pid(self, container: str) -> int:
        found = await self._engine.inspect(container)
        if found is None or not found["State"]["Running"]:
            code = None if found is None else found["State"].get("ExitCode")
            raise NeverReady(f"it ended before it waited (exit code {code})")
        return int(found["State"]["Pid"])


ESTIMATE_BYTES = 96 * 1024**2
"""What a sandbox is taken to need before one of its class was measured."""
