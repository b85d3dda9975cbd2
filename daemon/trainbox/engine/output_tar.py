"""One tar of a directory's files, the same bytes for the same files whenever it is made."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

CHUNK = 1024**2
OVERHEAD_BYTES = 4096
"""Most that a file takes beside its bytes: headers (POSIX.1-2001 pax) and filling."""


async def tar(files: Sequence[tuple[str, Path]]) -> AsyncIterator[bytes]:
    """Yield a tar of files under the given names, in that order, without owners and times."""
    for name, path in files:
        size = path.stat().st_size
        yield _header(name, size)
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk
        yield bytes(-size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
