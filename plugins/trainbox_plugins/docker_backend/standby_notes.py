"""Which job's sandbox a container is that stood by: on disk, so that a restarted daemon knows."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from trainbox_sdk.backends import SandboxRef

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """One sandbox that stood by and was handed to a job.

    Attributes:
        slot: id of its directory and of its label.
        container_id: what the engine calls it; its name is not its reference's.
        pid: of its first process, on this host.
        went_at: when the job was told to go; None while that is still to be done.
    """

    ref: SandboxRef
    slot: str
    container_id: str
    pid: int
    went_at: datetime | None = None


class Notes:
    """The notes of one instance, by the sandbox's name.

    Args:
        folder: their directory; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._notes = {note.ref.name: note for note in _read(sorted(folder.glob("*.json")))}

    def __iter__(self) -> Iterator[Note]:
        """Iterate a copy: notes come and go meanwhile."""
        return iter(tuple(self._notes.values()))

    def get(self, name: str) -> Note | None:
        """Return the note of a sandbox, or None for one that started cold."""
        return self._notes.get(name)

    def look_again(self, name: str) -> Note | None:
        """Return the note of a sandbox as it is on disk now: another backend may have written."""
        if name in self._notes:
            for note in _read([self._path(name)]):
                self._notes[name] = note
        return self._notes.get(name)

    def of_slot(self, slot: str) -> Note | None:
        """Return the note that names a slot."""
        return next((note for note in self._notes.values() if note.slot == slot), None)

    def keep(self, note: Note) -> None:
        """Write a note so that it survives a power cut.

        Raises:
            OSError: it cannot be written.
        """
        self._write(note, durable=True)

    def went(self, note: Note) -> Note:
        """Note that the job is told to go now.

        Raises:
            OSError: it cannot be written.
        """
        # Not synced: after a power cut no sandbox runs, and this says only when it began.
        gone = replace(note, went_at=datetime.now(UTC))
        self._write(gone, durable=False)
        return gone

    def drop(self, name: str) -> None:
        """Forget a sandbox; harmless where there is no note."""
        if self._notes.pop(name, None) is not None:
            self._path(name).unlink(missing_ok=True)

    def _write(self, note: Note, *, durable: bool) -> None:
        path = self._path(note.ref.name)
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump({**asdict(note), "went_at": _text(note.went_at)}, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if durable:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._notes[note.ref.name] = note

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _read(paths: Iterable[Path]) -> Iterator[Note]:
    for path in paths:
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            went_at = raw.pop("went_at")
            ref = SandboxRef(**raw.pop("ref"))
            yield Note(ref, **raw, went_at=went_at and datetime.fromisoformat(went_at))
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("unreadable note", extra={"path": str(path), "why": str(error)})


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
