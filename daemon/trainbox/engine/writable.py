"""Where sandboxes may write: on a disk of limited size, or in directories that are watched."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from trainbox.disks import Disks, fullness
from trainbox_sdk.backends import SandboxSpec

log = logging.getLogger(__name__)

_STAYS = frozenset({"scratch", "lost+found"})
"""What a disk keeps from one attempt to the next."""


@dataclass(frozen=True)
class Writable:
    """Where one sandbox may write.

    Attributes:
        limit_bytes: how much; None for whatever its limits say.
        sized: whether the file system itself holds it to that.
    """

    output: Path
    scratch: Path
    events: Path
    limit_bytes: int | None
    sized: bool


class WritablePlaces:
    """The writable directories of all sandboxes, by scratch key: a step's id, or a check's.

    Blocking. Args:
        state_dir: of the daemon.
        disks: None for plain directories alone.
    """

    def __init__(self, state_dir: Path, disks: Disks | None = None) -> None:
        self._disks = disks
        self._scratch = state_dir / "scratch"
        self._scratch.mkdir(mode=0o755, parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        """A directory on the file system that sandboxes write to."""
        return self._scratch

    @property
    def can_be_sized(self) -> bool:
        """Whether this host lets the daemon mount disks."""
        return self._disks is not None and not self._disks.trouble

    def scratch(self, key: str) -> Path:
        """Return the scratch directory of a step that has no disk."""
        return self._scratch / key

    def lay_out(self, key: str, folder: Path, *, may_be_sized: bool) -> Writable:
        """Return where a sandbox may write, with its disk mounted; nothing else is made yet.

        Which of both an attempt has stays as it began.

        Args:
            key: what survives the sandbox is found under it.
            folder: the sandbox's own, for what no guest writes.
            may_be_sized: its backend sees what this daemon mounts.

        Raises:
            DiskTrouble: its disk cannot be mounted.
            OSError: no room.
        """
        disks = self._disks
        if disks is None or not self._on_disk(disks, key, folder, may_be_sized=may_be_sized):
            limit = None if disks is None else disks.size.bytes
            plain = (folder / "output", self.scratch(key), folder / "events.jsonl")
            return Writable(*plain, limit, sized=False)
        top = disks.mount(key)
        run = top / folder.name
        if not run.exists():
            # What earlier attempts left would take its room. The top is root's: no guest renames
            # or replaces what lies in it.
            for other in [path for path in top.iterdir() if path.name not in _STAYS]:
                remove_tree(other)
            run.mkdir()
            run.chmod(0o755)
        places = (run / "output", top / "scratch", run / "events.jsonl")
        return Writable(*places, disks.size_of(key).bytes, sized=True)

    def _on_disk(self, disks: Disks, key: str, folder: Path, *, may_be_sized: bool) -> bool:
        if (folder / "spec.json").exists():
            return disks.has(key) and not (folder / "output").exists()
        # Scratch that an attempt without a disk left is worth more than the limit.
        fresh = disks.has(key) or not self.scratch(key).exists()
        return may_be_sized and not disks.trouble and fresh

    def sentence(self, spec: SandboxSpec) -> str:
        """Say what limits a sandbox's disk, for its record; if it is only watched, why."""
        if self._disks is None:
            return "watched"
        if spec.disk_is_sized:
            return str(replace(self._disks.size, bytes=spec.limits.output_bytes))
        why = (
            self._disks.trouble or "its backend does not see what the daemon mounts, or it began so"
        )
        return f"watched: {why}"

    def discard(self, key: str, folder: Path, *, keep_scratch: bool) -> None:
        """Delete what a dead sandbox wrote; with ``keep_scratch`` all but what a retry resumes.

        Scratch that fills its disk by itself is no use to a retry, which would have no room to
        write in: it goes as well.
        """
        if not keep_scratch:
            remove_tree(self.scratch(key))
        if self._disks is None or not self._disks.has(key):
            return
        if keep_scratch:
            remove_tree(self._disks.point(key) / folder.name)
            kept = self._disks.point(key) / "scratch"
            if kept.is_dir() and fullness(kept):
                self._disks.discard(key)
            else:
                self._disks.rest(key)
        else:
            self._disks.discard(key)

    def owners(self) -> set[str]:
        """Return the steps that have scratch or a disk, themselves or for a check."""
        return {first_word(path.name) for path in self._scratch.iterdir()} | {
            first_word(key) for key in self._keys()
        }

    def bytes_of(self, steps: Collection[str]) -> int:
        """Return what scratch directories and disks of these steps and their checks take."""
        folders = [path for path in self._scratch.iterdir() if first_word(path.name) in steps]
        keys = [key for key in self._keys() if first_word(key) in steps]
        on_disks = sum(self._disks.room(key) for key in keys) if self._disks is not None else 0
        return on_disks + sum(room(path) for path in folders)

    def taken_by(self, steps: Collection[str]) -> dict[str, int]:
        """Return the bytes of the blocks that each of these steps and its checks hold."""
        taken = dict.fromkeys(steps, 0)
        for path in self._scratch.iterdir():
            if first_word(path.name) in taken:
                taken[first_word(path.name)] += sum(each.st_blocks * 512 for each in _all_in(path))
        for key in self._keys():
            if self._disks is not None and first_word(key) in taken:
                taken[first_word(key)] += self._disks.room(key)
        return taken

    def discard_all_of(self, steps: AbstractSet[str]) -> None:
        """Delete all scratch and disks of these steps; nothing will resume from them."""
        for path in list(self._scratch.iterdir()):
            if first_word(path.name) in steps:
                remove_tree(path)
        for key in self._keys():
            if self._disks is not None and first_word(key) in steps:
                self._disks.discard(key)

    def mounted_steps(self) -> set[str]:
        """Return the steps that have a mounted disk, themselves or for a check."""
        return set() if self._disks is None else {first_word(k) for k in self._disks.mounted()}

    def rest(self, steps: AbstractSet[str]) -> None:
        """Unmount the disks of these steps, and delete those of their checks."""
        if self._disks is None:
            return
        for key in self._disks.mounted():
            if first_word(key) in steps:
                if "-" in key or not self._disks.has(key):
                    self._disks.discard(key)
                else:
                    self._disks.rest(key)

    def _keys(self) -> set[str]:
        return set() if self._disks is None else self._disks.keys()


def full(spec: SandboxSpec) -> str:
    """Say what a dead sandbox's disk has run out of; nothing where it has room, or is not sized."""
    return fullness(spec.paths.output) if spec.disk_is_sized else ""


def first_word(name: str) -> str:
    """Return the id that a directory's name starts with; an id holds no dash."""
    return name.partition("-")[0]


def room(path: Path) -> int:
    """Return the bytes of the files in a tree, or of one file; none where it is gone.

    A file that has another name as well frees nothing, and counts nothing.
    """
    return sum(
        each.st_size
        for each in _all_in(path)
        if not stat.S_ISDIR(each.st_mode) and each.st_nlink == 1
    )


def _all_in(path: Path) -> Iterator[os.stat_result]:
    """Yield what is known of a path and of all that lies in it; what goes meanwhile is left out.

    Not by ``os.walk``, which before Python 3.12 calls itself for each level: what lies there was
    written by strangers, who can nest deeper than the interpreter's stack. What is nested deeper
    than a path can tell is left out too.
    """
    waiting = [path]
    while waiting:
        here = waiting.pop()
        facts = _facts(here)
        if facts is None:
            continue
        yield facts
        if stat.S_ISDIR(facts.st_mode):
            with suppress(OSError), os.scandir(here) as entries:
                waiting += [here / entry.name for entry in entries]


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def remove_tree(folder: Path) -> None:
    """Delete a tree that hostile code may have shaped; links are not followed.

    By rm(1): for thousands of nested directories Python would need as many open files.
    """
    if not folder.exists():
        return
    removed = subprocess.run(
        ["rm", "-rf", "--", str(folder)], check=False, capture_output=True, text=True
    )
    if removed.returncode != 0:
        # Directories that their owner closed to itself; only a daemon that is not root minds.
        subprocess.run(
            ["chmod", "-R", "u+rwX", "--", str(folder)], check=False, capture_output=True
        )
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False, capture_output=True)
    if folder.exists():
        log.warning("not removed", extra={"folder": str(folder), "why": removed.stderr[:500]})
