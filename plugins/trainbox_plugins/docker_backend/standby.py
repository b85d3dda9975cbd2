"""Which job has become which of the sandboxes that stood by; told to go once, found after restarts.

Each serves one job. Wherever none can, the caller starts cold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainbox_plugins.docker_backend import host_memory
from trainbox_plugins.docker_backend.call_threads import CallThreads
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_mounts import engine_sees_mounts
from trainbox_plugins.docker_backend.engine_port import EnginePort, EngineRefused
from trainbox_plugins.docker_backend.follower import Follower
from trainbox_plugins.docker_backend.policy import LABEL, Confinement, ref_of
from trainbox_plugins.docker_backend.slot_directory import NobodyWaits, SlotDirectory, seen_by
from trainbox_plugins.docker_backend.standby_class import (
    ROLE,
    binds_of,
    standby_class,
    variables_of,
)
from trainbox_plugins.docker_backend.standby_notes import Note, Notes
from trainbox_plugins.docker_backend.standby_pool import StandbyPool
from trainbox_plugins.docker_backend.standby_slot import MOUNT_DEADLINE_S, Slot, SlotMaker
from trainbox_sdk.backends import SandboxSpec
from trainbox_sdk.errors import BackendUnavailable

log = logging.getLogger(__name__)

LEAST_CPUS = 4
LEAST_MEMORY_BYTES = 8 * 1024**3
"""Hosts below either keep none unless told to."""
_ONLY_LOOKS = "this backend only builds environments"
_RUNTIMES = frozenset({"", "runc", "crun"})
"""Runtimes whose containers see what is mounted on the host after they have started."""


class Standby:
    """The sandboxes of one instance that stand by or stood by. Belongs to the event loop.

    Args:
        engine, config, confinement: the backend's.
    """

    def __init__(self, engine: EnginePort, config: Config, confinement: Confinement) -> None:
        self._engine = engine
        self._config = config
        self._confinement = confinement
        self._threads = CallThreads(2, "docker-standby")
        self._maker = SlotMaker(engine, config, self._threads)
        self._followers: dict[str, Follower] = {}
        self._cold: set[str] = set()
        self._known = asyncio.Event()
        self._instance = ""
        self._home = Path()
        self._only_looks = True
        self._notes: Notes | None = None
        self._pool = self._new_pool("not opened")

    # --- its own life

    def open(self, instance: str, home: Path | None) -> None:
        """Take up what an earlier daemon left; the engine may be away."""
        self._instance = instance
        off = _reason_against(self._config)
        self._only_looks = home is None
        if home is None or (off and not (home / ROLE).exists()):
            self._pool = self._new_pool(off or ("" if home else _ONLY_LOOKS))
            return
        self._home = home / ROLE
        self._notes = Notes(self._home / "notes")
        self._slots.mkdir(mode=0o700, exist_ok=True)
        self._pool = self._new_pool(off)
        self._pool.spawn(self._keep(self._notes))

    async def close(self) -> None:
        """Let go: what waits is removed, what has a job runs on."""
        await self._pool.close()
        for follower in self._followers.values():
            follower.close()
        self._threads.close()

    @property
    def off(self) -> str:
        """Why none are kept; empty where they are."""
        return self._pool.off

    def sentence(self) -> str:
        """Say what stands by, for people; of a backend that only looks, what would."""
        config, lacks = self._config, self._pool.lacks
        if self._only_looks:
            off = _reason_against(config) or lacks
            if off:
                return f"no sandbox would stand by: {off}"
            most = f"up to {config.standby_per_class} per kind of job"
            return f"{most} would stand by, in {config.standby_memory_bytes // 2**20} MiB together"
        off = self.off or lacks
        return f"no sandbox stands by: {off}" if off else f"{self._pool.waiting} stand by"

    # --- who is who

    def handed(self, name: str) -> Note | None:
        """Return the note of a sandbox that stood by, or None for one that did not."""
        return self._notes.get(name) if self._notes else None

    def of_slot(self, labels: Mapping[str, str]) -> Note | None:
        """Return the note of a container by its labels."""
        return self._notes.of_slot(labels.get(f"{LABEL}slot", "")) if self._notes else None

    def went(self, name: str) -> bool:
        """Whether a sandbox that waits no more was told to go, by whichever daemon."""
        note = self._notes.look_again(name) if self._notes else None
        return note is not None and note.went_at is not None

    def waits(self, note: Note) -> bool:
        """Whether a sandbox that was handed over still waits for the word."""
        return self._directory(note).waits()

    def follower(self, name: str, container: str) -> Follower:
        """Return who has listened to a sandbox since it stood by, or a new one."""
        known = self._followers.pop(name, None)
        return known or Follower(self._engine, container, reconnect_s=self._config.reconnect_s)

    @contextmanager
    def cold_start(self, name: str) -> Iterator[None]:
        """While one is under way nothing is made in the background.

        None that stands by may take the place of a sandbox that was created cold.
        """
        self._cold.add(name)
        with self._pool.starting():
            yield

    # --- the hand-over

    def make_room(self, memory_bytes: int) -> None:
        """Give way to a job: let standbys go until its memory is there, or none is left."""
        self._pool.make_room(memory_bytes)

    async def take(self, spec: SandboxSpec, body: Mapping[str, Any]) -> bool:
        """Make a waiting sandbox the one of a spec, its files mounted; False where none can be.

        Args:
            spec: what is to run.
            body: what a cold start would create.
        """
        if self.off or spec.gpus:
            return False
        kind = standby_class(spec, self._confinement)
        self._pool.want(kind)
        if not self._known.is_set() or spec.ref.name in self._cold:
            return False
        slot = self._pool.take(kind)
        return slot is not None and await self._hand_over(slot, spec, body)

    async def complete(self, note: Note, body: Mapping[str, Any]) -> None:
        """Mount what a daemon that was killed in between had not mounted.

        Raises:
            BackendUnavailable: it cannot be now.
        """
        if note.went_at is None and self.waits(note):
            try:
                await self._mount(note, body)
            except (OSError, TimeoutError) as error:
                raise BackendUnavailable(f"a sandbox's files cannot be mounted: {error}") from error

    def go(self, note: Note, body: Mapping[str, Any]) -> bool:
        """Give the word; False where the sandbox died before it.

        Raises:
            OSError: the note or the word cannot be written.
        """
        assert self._notes is not None
        went_before = note.went_at is not None
        gone = note if went_before else self._notes.went(note)
        try:
            self._directory(note).send(variables_of(body))
        except NobodyWaits:
            return went_before
        self._pool.spawn(self._settle(gone))
        return True

    async def forget(self, name: str) -> None:
        """Drop what is kept of a sandbox that is gone."""
        self._cold.discard(name)
        note = self.handed(name)
        if note is None or self._notes is None:
            return
        if name in self._followers:
            self._followers.pop(name).close()
        try:
            await self._maker.clear(self._directory(note))
        except (OSError, TimeoutError) as error:
            log.warning("a slot is left", extra={"slot": note.slot, "why": str(error)})
        self._notes.drop(name)

    async def fill(self, spec: SandboxSpec) -> None:
        """Return once a sandbox of the spec's class stands by.

        Raises:
            BackendUnavailable: none can; the sentence says why.
        """
        if not self.off:
            await self._known.wait()
        if self.off:
            raise BackendUnavailable(f"no sandbox stands by: {self.off}")
        await self._pool.fill(standby_class(spec, self._confinement))

    # --- inside

    @property
    def _slots(self) -> Path:
        return self._home / "slots"

    def _new_pool(self, off: str) -> StandbyPool:
        return StandbyPool(
            self._maker, self._config, instance=self._instance, folder=self._slots, off=off
        )

    def _directory(self, note: Note) -> SlotDirectory:
        return SlotDirectory(self._slots / note.slot)

    async def _hand_over(self, slot: Slot, spec: SandboxSpec, body: Mapping[str, Any]) -> bool:
        notes = self._notes
        assert notes is not None
        note = Note(spec.ref, slot.id, slot.container_id, slot.pid)
        try:
            await self._mount(note, body, first=lambda: notes.keep(note))
        except (OSError, TimeoutError) as error:
            log.warning("started cold", extra={"sandbox": spec.ref.name, "why": str(error)})
            self._pool.failed(f"a job's files cannot be handed over: {error}")
            await self._pool.discard(slot)
            notes.drop(spec.ref.name)
            return False
        self._pool.succeeded()
        self._followers[spec.ref.name] = slot.follower
        return True

    async def _mount(
        self, note: Note, body: Mapping[str, Any], first: Callable[[], None] | None = None
    ) -> None:
        """Mount a job's files, after ``first``, both away from the event loop: they touch disks."""
        directory, binds = self._directory(note), binds_of(body)

        def mount() -> None:
            if first is not None:
                first()
            directory.attach(binds)
            if not seen_by(note.pid, binds):
                raise OSError("what is mounted on the host is not seen inside")

        await self._threads.run(mount, MOUNT_DEADLINE_S)

    async def _settle(self, note: Note) -> None:
        """Take the mounts off the host; the sandbox keeps its own."""
        try:
            await self._maker.settle(self._directory(note))
        except (OSError, TimeoutError) as error:
            log.warning("left mounted", extra={"slot": note.slot, "why": str(error)})

    async def _keep(self, notes: Notes) -> None:
        """Clear up after an earlier daemon, then keep as many as are wanted; until cancelled."""
        while not self._known.is_set():
            try:
                await self._look(notes)
                self._known.set()
            except (EngineRefused, BackendUnavailable):
                await asyncio.sleep(1.0)
        if not self.off and not engine_sees_mounts(self._config.socket_url):
            self._pool.off = "the engine does not see what this daemon mounts"
        await self._tidy(notes)
        await self._pool.keep()

    async def _look(self, notes: Notes) -> None:
        """Learn what there is; remove what was kept for jobs that never came."""
        there = set()
        for summary in await self._engine.list_by_label({f"{LABEL}instance": self._instance}):
            labels = summary.get("Labels") or {}
            ref, slot = ref_of(labels), labels.get(f"{LABEL}slot", "")
            if ref is not None:
                self._cold.add(ref.name)
            elif slot and notes.of_slot(slot) is None:
                await self._engine.remove(str(summary["Id"]), force=True)
            there.add(slot)
        for note in notes:
            if note.slot not in there:
                notes.drop(note.ref.name)

    async def _tidy(self, notes: Notes) -> None:
        """Clear the directories of slots that are gone, and the host of mounts that were left."""
        kept = {note.slot: note for note in notes}
        for path in tuple(self._slots.iterdir()):
            note = kept.get(path.name)
            if note is None:
                with contextlib.suppress(OSError, TimeoutError):
                    await self._maker.clear(SlotDirectory(path))
            elif not self.waits(note):
                await self._settle(note)


def _reason_against(config: Config) -> str:
    if config.standby == "off":
        return "switched off (standby)"
    if os.geteuid() != 0:
        return "only a daemon that is root can mount a job's files into a running sandbox"
    if (config.runtime or "") not in _RUNTIMES:
        return f"sandboxes of {config.runtime} do not see what is mounted after they started"
    small = (os.cpu_count() or 1) < LEAST_CPUS or host_memory.total_bytes() < LEAST_MEMORY_BYTES
    if config.standby == "auto" and small:
        return f"this host has fewer than {LEAST_CPUS} cores or less than 8 GiB (standby = auto)"
    return ""
