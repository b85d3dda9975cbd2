"""One sandbox that this daemon looks after while it runs: its output, its disk, its memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import replace
from pathlib import Path

from trainbox_guest.shim.disk import DiskUse, disk_use
from trainbox_guest.shim.log_rate import LogRate
from trainbox_plugins.docker_backend import cgroups
from trainbox_plugins.docker_backend.call_threads import CallThreads
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_port import EnginePort, EngineRefused
from trainbox_plugins.docker_backend.follower import Ended, Follower, Sink
from trainbox_plugins.docker_backend.observations import memory_cause
from trainbox_sdk.backends import Cause, Observation, SandboxSpec
from trainbox_sdk.errors import BackendUnavailable

log = logging.getLogger(__name__)

_MEASURE_DEADLINE_S = 60.0
_FIRST_LOOK_S = 0.02
_MEMORY_POLL_S = 0.25
_NOTE = "verdict.json"
_ENGINE_KILLS = {137, 143, 255}
"""What an engine that stops leaves behind: SIGKILL, SIGTERM, or no code of its own. Read as such
only where the engine was seen to go away."""


class Running:
    """A sandbox under watch. Belongs to the event loop; its follower has a thread.

    Args:
        container_id: the engine's id: a sandbox that stood by has another name than its reference.
        follower: of its output; told here where that goes.
        measuring: threads for walks through the writable directories.
        warm: whether it stood by before it had its job.
    """

    def __init__(
        self,
        engine: EnginePort,
        spec: SandboxSpec,
        container_id: str,
        follower: Follower,
        *,
        config: Config,
        measuring: CallThreads,
        warm: bool = False,
    ) -> None:
        self._engine = engine
        self._spec = spec
        self._container_id = container_id
        self._config = config
        self._measuring = measuring
        self._loop = asyncio.get_running_loop()
        self._memory: cgroups.MemoryUse | None = None
        self._cpu = cgroups.CpuMeter(whole=not warm)
        self._condemned = _read_note(spec.paths.state)
        self._watch: asyncio.Task[None] | None = None
        self._kills: set[asyncio.Task[None]] = set()
        self._follower = follower
        self._follower.write_to(
            Sink(
                spec.paths.log,
                limit_bytes=spec.limits.log_bytes,
                flood_bytes=config.log_flood_bytes,
                on_flood=self._tell_of_flood,
                rate=LogRate(config.log_bytes_per_s, config.log_lines_per_s, config.log_burst_s),
            )
        )

    async def attach(self) -> None:
        """Listen to a container that has not been started; returns once nothing can be missed."""
        self._follower.begin(fresh=True)
        await asyncio.wrap_future(self._follower.attached)

    @property
    def listens(self) -> bool:
        """Whether its output has been listened to from the start."""
        return self._follower.attached.done()

    def adopt(self) -> None:
        """Take up a container that an earlier daemon started."""
        self._follower.begin(fresh=False)
        self.watch()

    def watch(self) -> None:
        """Begin to measure what it uses."""
        self._read_counters()
        self._watch = asyncio.create_task(self._keep_measuring())

    async def ended(self) -> Ended:
        """Return once it is dead and its log is whole.

        Raises:
            BackendUnavailable: the engine stays away.
        """
        return await asyncio.wrap_future(self._follower.ended)

    async def judge(self, seen: Observation, ended: Ended) -> Observation:
        """Add to the engine's last word what only the watch knows: peak, breaches, gaps."""
        if self._condemned is None and not self._spec.disk_is_sized:
            await self._measure_disk()
        peak = self._memory.peak_bytes if self._memory else None
        seen = replace(
            seen,
            peak_memory_bytes=peak,
            cpu_s=self._cpu.cpu_s,
            peak_cpus=self._cpu.peak_cpus,
        )
        if self._condemned is not None:
            cause, detail = self._condemned
            return replace(seen, cause=cause, detail=detail)
        if seen.cause is Cause.NONE and self._memory and self._memory.oom_kills:
            cause, detail = memory_cause(seen.exit_code, self._memory.oom_kills)
            seen = replace(seen, cause=cause, detail=seen.detail or detail)
        if ended.interrupted and seen.exit_code in _ENGINE_KILLS and seen.cause is Cause.NONE:
            detail = "the engine went away while it ran, and took it along"
            return replace(seen, cause=Cause.LOST, detail=detail)
        return seen

    def close(self) -> None:
        """Let go; the sandbox goes on."""
        if self._watch is not None:
            self._watch.cancel()
        self._follower.close()

    def _tell_of_flood(self) -> None:
        self._loop.call_soon_threadsafe(self._flooded)

    def _flooded(self) -> None:
        limit = self._config.log_flood_bytes / 1024**2
        self._condemn(Cause.LOG_LIMIT, f"it printed more than {limit:g} MiB")

    def _condemn(self, cause: Cause, detail: str) -> None:
        """Note why before the kill, so that a restarted daemon gives the same cause."""
        if self._condemned is None:
            self._condemned = (cause, detail)
            try:
                _write_note(self._spec.paths.state, cause, detail)
            except OSError as error:  # the disk it filled: all the more reason to kill it
                log.warning(
                    "a kill left no note: %s", error, extra={"sandbox": self._spec.ref.name}
                )
        if not self._follower.ended.done():
            kill = self._loop.create_task(self._kill())
            self._kills.add(kill)  # a task that nobody holds may be collected half-way
            kill.add_done_callback(self._kills.discard)

    async def _kill(self) -> None:
        with contextlib.suppress(BackendUnavailable, EngineRefused):  # the next look kills again
            await self._engine.kill(self._container_id, "KILL")

    async def _keep_measuring(self) -> None:
        """Look at memory often and at the disk now and then, until it is dead.

        The kernel forgets a container's counters before the engine tells of its end, so the last
        sample is all there is; short runs get the densest ones.
        """
        disk_due = self._loop.time() + self._config.disk_poll_s
        pause = _FIRST_LOOK_S
        while not self._follower.ended.done():
            await asyncio.sleep(min(pause, self._config.disk_poll_s))
            pause = min(pause * 1.5, _MEMORY_POLL_S)
            self._read_counters()
            if self._loop.time() < disk_due:
                continue
            disk_due = self._loop.time() + self._config.disk_poll_s
            if self._condemned is not None:
                self._condemn(*self._condemned)
            elif not self._spec.disk_is_sized:
                await self._measure_disk()

    async def _measure_disk(self) -> None:
        limit, paths = self._spec.limits.output_bytes, self._spec.paths

        def measure() -> DiskUse:
            roots = (paths.output, paths.scratch, paths.events)
            return disk_use(roots, limit_bytes=limit, limit_entries=self._config.max_files)

        try:
            use = await self._measuring.run(measure, _MEASURE_DEADLINE_S)
        except TimeoutError:
            return  # a slow disk; the next look may be faster
        if not use.whole:
            wrote = f"{use.bytes} bytes in {use.entries} files"
            self._condemn(Cause.DISK_LIMIT, f"it wrote {wrote}; {limit} bytes are allowed")

    def _read_counters(self) -> None:
        """Read the kernel's counters while they last."""
        parent = self._config.cgroup_parent or ""
        use = cgroups.memory_use(self._container_id, parent)
        if use is not None:
            self._memory = use
        used_s = cgroups.cpu_used(self._container_id, parent)
        if used_s is not None:
            self._cpu.sample(self._loop.time(), used_s)


def _read_note(state: Path) -> tuple[Cause, str] | None:
    try:
        note = json.loads((state / _NOTE).read_text())
        return Cause(note["cause"]), str(note["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_note(state: Path, cause: Cause, detail: str) -> None:
    part = state / f"{_NOTE}.part"
    part.write_text(json.dumps({"cause": cause.value, "detail": detail}))
    part.replace(state / _NOTE)
