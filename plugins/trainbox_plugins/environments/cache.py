"""Where built things that can be built again live."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_LOOK_S = 0.2
"""Seconds between two looks at a lock that someone holds."""


def default_cache_dir() -> Path:
    """Return TRAINBOX_CACHE_DIR, systemd's CACHE_DIRECTORY or the XDG cache home."""
    for name in ("TRAINBOX_CACHE_DIR", "CACHE_DIRECTORY"):
        given = os.environ.get(name)
        if given:
            return Path(given.split(":")[0])
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "trainbox"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for whoever builds the same thing now; freed by a crash too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def exclusive_async(path: Path) -> AsyncIterator[None]:
    """Hold a lock file as :func:`exclusive` does, without a thread that waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_LOOK_S)
            else:
                break
        yield


@contextmanager
def work_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a directory for one piece of work; it is gone afterwards. Blocks.

    Whoever works holds a lock on its directory, which a kill frees: those that nobody holds are
    left over, and go first.

    Args:
        parent: where; made if it is missing.
        prefix: of its name, for this kind of work alone.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with exclusive(parent / f".held{prefix}"):  # between making one and locking it, nobody looks
        for left in parent.glob(f"{prefix}*"):
            _remove_unless_held(left)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        held = _locked(made)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if held is not None:
            os.close(held)


def _remove_unless_held(folder: Path) -> None:
    held = _locked(folder)
    if held is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _locked(folder: Path) -> int | None:
    """Return a descriptor that holds a directory's lock, or None where someone else does."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone, no directory, or another user's
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def tree_bytes(root: Path) -> int:
    """Return the bytes of the regular files below ``root``, links not followed."""
    total = 0
    for folder, _, files in os.walk(root):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)  # noqa: PTH118
    return total


class Uses:
    """When each environment was last asked for: the time of an empty file by its digest.

    Args:
        root: a directory of the cache.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def note(self, digest: str) -> None:
        """Say that an environment is wanted now."""
        self._root.mkdir(parents=True, exist_ok=True)
        (self._root / digest).touch()

    def last(self, digest: str) -> datetime | None:
        """Return when it was, or None where that was not noted here."""
        try:
            return datetime.fromtimestamp((self._root / digest).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def forget(self, digest: str) -> None:
        """Drop the note."""
        (self._root / digest).unlink(missing_ok=True)
