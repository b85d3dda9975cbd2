"""A directory laid out as a tar that is written nowhere: headers in memory, files where they lie.

So an archive costs no disk, and any range of it can be read at once. POSIX pax format
(IEEE Std 1003.1, pax), uncompressed; every header is the same for the same version.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from trainbox_sdk.models import ArchivePart

MODE = 0o644


def lay_out(
    folder: str, files: Sequence[tuple[str, int, Path]], at: datetime
) -> tuple[ArchivePart, ...]:
    """Return the parts of a tar.

    Args:
        folder: everything lies below it.
        files: path below the folder, bytes, and where they lie on this host.
        at: the time of every entry.
    """
    return tuple(_parts(folder, files, int(at.timestamp())))


def _parts(folder: str, files: Sequence[tuple[str, int, Path]], at: int) -> Iterator[ArchivePart]:
    written = 0
    for name, size, path in files:
        header = tarfile.TarInfo(f"{folder}/{name}")
        header.size, header.mtime, header.mode = size, at, MODE
        data = header.tobuf(tarfile.PAX_FORMAT)
        padding = bytes(-size % tarfile.BLOCKSIZE)
        yield ArchivePart(len(data), data)
        yield ArchivePart(size, path=path)
        if padding:
            yield ArchivePart(len(padding), padding)
        written += len(data) + size + len(padding)
    end = bytes(2 * tarfile.BLOCKSIZE)
    rest = -(written + len(end)) % tarfile.RECORDSIZE
    yield ArchivePart(len(end) + rest, end + bytes(rest))
