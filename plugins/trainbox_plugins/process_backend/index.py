"""The sandboxes of one daemon instance on disk: who they are, where their notes lie, how they are.

Nothing is remembered in memory, so a restarted daemon knows as much as the one before it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbox_guest.shim import notes
from trainbox_sdk.backends import Cause, Observation, Phase, SandboxRef

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRY = "sandbox.json"
_CONDEMNED = "condemned"
LOST = "the process that watched it is gone and left no exit code (killed, or the host restarted)"
UNREADABLE = "its exit note says something that no shim of this version writes"


@dataclass(frozen=True)
class Sandbox:
    """One sandbox of ours.

    Attributes:
        home: its folder in the index.
        state: its folder of notes (:attr:`trainbox_sdk.backends.Paths.state`).
    """

    ref: SandboxRef
    home: Path
    state: Path

    @property
    def inputs(self) -> Path:
        """Folder of links to the dataset and the inputs, under the names the guest expects."""
        return self.home / "in"

    def alive(self) -> bool:
        """Whether its shim lives: it holds the lock from before its birth until its end."""
        try:
            with (self.state / notes.LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def observe(self) -> Observation:
        """Look at it now."""
        # In this order: a shim writes its exit note before it lets go of the lock.
        alive = self.alive()
        ended = notes.read(str(self.state), notes.EXIT)
        running = notes.read(str(self.state), notes.RUNNING)
        if ended is not None:
            return _ended(self.ref, ended) or _lost(self.ref, UNREADABLE)
        started = _time(running.get("started_at")) if running else None
        if alive:
            return Observation(self.ref, Phase.RUNNING, started_at=started)
        if running is None:
            return Observation(self.ref, Phase.CREATED)
        return _lost(self.ref, LOST, started)

    def shim_pid(self) -> int | None:
        """Return the shim's process id once it has said it; only meaningful while it is alive."""
        running = notes.read(str(self.state), notes.RUNNING)
        return int(running["pid"]) if running else None

    def condemn(self) -> None:
        """Say that it is being removed, before it is killed: whoever waits for it learns why."""
        (self.home / _CONDEMNED).touch()

    def condemned(self) -> bool:
        """Whether it is being removed, or was."""
        return (self.home / _CONDEMNED).exists() or not self.home.exists()

    def forget(self) -> None:
        """Remove the notes and the index entry; the entry last, so that a crash leaves a trace."""
        for name in (*notes.ALL, notes.LOCK):
            (self.state / name).unlink(missing_ok=True)
        shutil.rmtree(self.home, ignore_errors=True)


class Index:
    """The folder of one instance's sandboxes."""

    def __init__(self, root: Path, instance: str) -> None:
        self._root = root / instance.replace(os.sep, "-")

    def put(self, ref: SandboxRef, state: Path) -> Sandbox:
        """Enter a sandbox; entering it again changes nothing."""
        home = self._root / ref.name
        home.mkdir(parents=True, exist_ok=True, mode=0o755)
        entry = {"ref": asdict(ref), "state": str(state)}
        part = home / f"{_ENTRY}.part"
        part.write_text(json.dumps(entry), encoding="utf-8")
        part.replace(home / _ENTRY)
        return Sandbox(ref, home, state)

    def get(self, ref: SandboxRef) -> Sandbox | None:
        """Return the sandbox of that reference, or None."""
        return _read_entry(self._root / ref.name)

    def all(self) -> Iterator[Sandbox]:
        """Yield every sandbox of this instance."""
        for home in sorted(self._root.glob("*")):
            found = _read_entry(home)
            if found is not None:
                yield found


def _read_entry(home: Path) -> Sandbox | None:
    raw = notes.read(str(home), _ENTRY)
    if raw is None:
        return None
    return Sandbox(SandboxRef(**raw["ref"]), home, Path(raw["state"]))


def _ended(ref: SandboxRef, note: dict[str, Any]) -> Observation | None:
    """Read an exit note; None for one that says something else, whoever wrote it."""
    try:
        return Observation(
            ref,
            Phase.EXITED,
            exit_code=note["exit_code"],
            cause=Cause(note["cause"]),
            detail=note["detail"],
            started_at=_time(note["started_at"]),
            finished_at=_time(note["finished_at"]),
            peak_memory_bytes=note["peak_memory_bytes"],
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _lost(ref: SandboxRef, detail: str, started: datetime | None = None) -> Observation:
    return Observation(ref, Phase.EXITED, cause=Cause.LOST, detail=detail, started_at=started)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
