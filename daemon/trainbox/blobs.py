"""Content-addressed files: written aside, hashed while written, synced, then renamed into place.

A file under ``sha256/`` is whole or absent, also after a power cut: the bytes are synced before the
rename, the directory after it. Its name is its content, so the same bytes are kept once.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from trainbox.cancellation import whole
from trainbox.durable import sync_directory
from trainbox_sdk.errors import NotFound, StorageFull, TooLarge

P = ParamSpec("P")
T = TypeVar("T")

CHUNK = 1024**2
IN_FLIGHT_S = 3600.0
"""After this a published file that nobody settled is taken for abandoned."""
REMEMBERED = 10_000
"""Publications from which on old ones are forgotten."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Blob:
    """A published file.

    Attributes:
        digest: ``sha256:<hex>`` of its bytes.
        bytes: its size.
    """

    digest: str
    bytes: int


@dataclass(frozen=True)
class Stored:
    """A file found in the store.

    Attributes:
        name: path below the store's root.
        bytes: its size; what unlinking gives back while no sandbox has a link to it.
        published_at: microseconds since the epoch, by the file system's clock.
    """

    digest: str
    name: str
    bytes: int
    published_at: int


class Flights:
    """What was published and has no row yet, or only since a moment ago.

    A purge notes the time, asks the database what is in use, and may then unlink only what was
    neither published nor settled since: a row that came later is thereby never robbed of its bytes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.Lock()
        self.clock = clock
        self._open: defaultdict[str, list[float]] = defaultdict(list)
        self._seen: dict[str, float] = {}

    def took_off(self, digest: str) -> None:
        """Note a publication; the caller holds the lock."""
        if len(self._seen) > REMEMBERED:
            self._forget_old()
        self._seen[digest] = self.clock()
        self._open[digest].append(self._seen[digest])

    def landed(self, digest: str) -> None:
        """Note that one publication has its row, or is given up."""
        with self.lock:
            self._seen[digest] = self.clock()
            if self._open.get(digest):
                self._open[digest].pop(0)
            if not self._open.get(digest):
                self._open.pop(digest, None)

    def untouched_since(self, digest: str, moment: float) -> bool:
        """Return whether the file may go; the caller holds the lock."""
        begun = max(self._open.get(digest, ()), default=None)
        in_flight = begun is not None and self.clock() - begun < IN_FLIGHT_S
        return not in_flight and self._seen.get(digest, moment - 1) < moment

    def _forget_old(self) -> None:
        old = self.clock() - IN_FLIGHT_S
        self._seen = {digest: at for digest, at in self._seen.items() if at >= old}
        for digest in [each for each, begun in self._open.items() if max(begun) < old]:
            del self._open[digest]


class BlobStore:
    """The files of one state directory. Making one creates the folders and drops leftovers.

    The caller holds the state directory's lock: what lies in ``incoming`` at start is what a killed
    daemon left there.

    Raises:
        StorageFull: no room for the folders.
    """

    def __init__(self, root: Path) -> None:
        self._files = root / "sha256"
        self._incoming = root / "incoming"
        self._flights = Flights()
        with no_room_is_storage_full(root):
            for folder in (self._files, self._incoming):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink()

    async def put_stream(self, chunks: AsyncIterator[bytes], max_bytes: int) -> Blob:
        """Publish the bytes of a stream; nothing remains of one that fails.

        Raises:
            TooLarge: more than ``max_bytes``.
            StorageFull: no room.
        """
        incoming = _Incoming(self._incoming, max_bytes)
        try:
            buffer = bytearray()
            async for chunk in chunks:
                buffer += chunk
                if len(buffer) >= CHUNK:
                    await in_thread(incoming.write, bytes(buffer))
                    buffer.clear()
            await in_thread(incoming.write, bytes(buffer))
            return await in_thread(incoming.publish, self._files, self._flights)
        finally:
            incoming.discard()

    async def put_fd(self, fd: int, *, max_bytes: int) -> Blob:
        """Publish what an open descriptor reads from its start; the caller closes it.

        Raises:
            TooLarge: more than ``max_bytes``.
            StorageFull: no room.
        """
        return await in_thread(self._copy, fd, max_bytes)

    async def put_file(self, path: Path, *, max_bytes: int) -> Blob:
        """Publish a copy of a regular file; links are not followed.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a regular file.
            TooLarge: more than ``max_bytes``.
            StorageFull: no room.
        """
        return await in_thread(self._copy_path, path, max_bytes)

    def path(self, digest: str) -> Path:
        """Return where the bytes of a digest lie.

        Raises:
            NotFound: they are not here, or the text is no digest.
        """
        path = self._place(digest)
        if not path.is_file():
            raise NotFound(f"the bytes of {digest} are missing from {self._files}")
        return path

    async def verify(self, digest: str) -> bool:
        """Return whether the stored bytes still have their digest.

        Raises:
            NotFound: they are not here.
        """
        return await in_thread(_digest_of, self.path(digest)) == digest

    async def remove(self, digest: str) -> bool:
        """Delete the bytes, giving back their room; False where they were absent."""
        return await in_thread(self._remove, self._place(digest))

    def settle(self, digest: str) -> None:
        """Say that a published file has its row now, or never will; until then it is not purged."""
        self._flights.landed(digest)

    def moment(self) -> float:
        """Return now on the clock of :meth:`sweep`."""
        return self._flights.clock()

    def files(self) -> Iterator[Stored]:
        """Iterate every file; one that goes meanwhile is left out."""
        for path in sorted(self._files.glob("[0-9a-f][0-9a-f]/*")):
            digest = f"sha256:{path.parent.name}{path.name}"
            if _DIGEST.fullmatch(digest) is None:
                continue
            with suppress(FileNotFoundError):
                facts = path.stat()
                name = str(path.relative_to(self._files.parent))
                yield Stored(digest, name, facts.st_size, facts.st_mtime_ns // 1000)

    async def sweep(self, digest: str, *, untouched_since: float, dry_run: bool = False) -> bool:
        """Delete a file that no row refers to; False where it is absent, or touched since.

        Args:
            digest: the file.
            untouched_since: :meth:`moment` from before the rows were looked at.
            dry_run: only say whether it would be deleted.
        """
        return await in_thread(self._sweep, digest, untouched_since, dry_run)

    def free_bytes(self) -> int:
        """Return the room left on the file system."""
        return shutil.disk_usage(self._files).free

    def _place(self, digest: str) -> Path:
        found = _DIGEST.fullmatch(digest)
        if found is None:
            raise NotFound(f"{digest!r} is not a sha256 digest")
        return self._files / found[1][:2] / found[1][2:]

    def _copy_path(self, path: Path, max_bytes: int) -> Blob:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError(f"{path} is not a regular file")
            return self._copy(fd, max_bytes)
        finally:
            os.close(fd)

    def _copy(self, fd: int, max_bytes: int) -> Blob:
        incoming = _Incoming(self._incoming, max_bytes)
        try:
            offset = 0
            while chunk := os.pread(fd, CHUNK, offset):
                incoming.write(chunk)
                offset += len(chunk)
            return incoming.publish(self._files, self._flights)
        finally:
            incoming.discard()

    def _sweep(self, digest: str, moment: float, dry_run: bool) -> bool:
        path = self._place(digest)
        with self._flights.lock:
            if not self._flights.untouched_since(digest, moment):
                return False
            return path.is_file() if dry_run else self._remove(path)

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        sync_directory(path.parent)
        return True


class _Incoming:
    """One file on its way in: hashed while written, counted, then published or discarded."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._path = folder / secrets.token_hex(16)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._hash = hashlib.sha256()
        with no_room_is_storage_full(folder):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)

    def write(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise TooLarge(f"more than {self._max_bytes} bytes")
        self._hash.update(data)
        view = memoryview(data)
        with no_room_is_storage_full(self._path.parent):
            while view:
                view = view[os.write(self._fd, view) :]

    def publish(self, files: Path, flights: Flights) -> Blob:
        name = self._hash.hexdigest()
        digest = f"sha256:{name}"
        shard = files / name[:2]
        with no_room_is_storage_full(files):
            os.fchmod(self._fd, 0o440)
            os.fsync(self._fd)
            _make_directory(shard)
            # Replacing a file of the same name is right too: the fresh bytes are known to be good.
            with flights.lock:
                self._path.replace(shard / name[2:])
                flights.took_off(digest)
            sync_directory(shard)
        return Blob(digest, self._bytes)

    def discard(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)


@contextmanager
def no_room_is_storage_full(place: Path) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" into :class:`StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StorageFull(
            f"no room left under {place}: {error.strerror}",
            hint="free some space; nothing was stored, so the same request may be sent again",
        ) from error


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run in a thread; a cancelled caller still waits for its end.

    Otherwise the caller would close a descriptor under the thread, and the thread might then write
    into whatever file gets that number next.
    """
    return await whole(asyncio.to_thread(call, *args, **kwargs))


def _make_directory(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    sync_directory(folder.parent)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
