"""An upload's bytes on their way to disk: counted, hashed, in constant memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from trainbox.blobs import in_thread, no_room_is_storage_full
from trainbox_sdk.errors import TooLarge

BLOCK = 1024**2


async def spool(body: AsyncIterator[bytes], path: Path, max_bytes: int) -> str:
    """Write a stream to a new file and return ``sha256:<hex>`` of its bytes.

    The file is the caller's to remove, also when this fails: an error of the stream itself, such as
    a client that went away, passes through.

    Raises:
        TooLarge: more than ``max_bytes``.
        StorageFull: no room.
    """
    digest = hashlib.sha256()
    with no_room_is_storage_full(path.parent):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        received = 0
        buffer = bytearray()
        async for chunk in body:
            received += len(chunk)
            if received > max_bytes:
                raise TooLarge(
                    f"the upload is larger than {max_bytes:,} bytes",
                    hint="send Parquet, which is smaller, or fewer rows",
                )
            buffer += chunk
            if len(buffer) >= BLOCK:
                await _write(fd, buffer, digest, path)
                buffer = bytearray()
        await _write(fd, buffer, digest, path)
    finally:
        os.close(fd)
    return f"sha256:{digest.hexdigest()}"


def adopt(source: Path, path: Path, max_bytes: int) -> str:
    """Link a file to a new place and return ``sha256:<hex>`` of its bytes; blocks.

    Raises:
        TooLarge: more than ``max_bytes``.
        FileNotFoundError: no such file.
    """
    if source.stat().st_size > max_bytes:
        raise TooLarge(f"the upload is larger than {max_bytes:,} bytes")
    os.link(source, path, follow_symlinks=False)
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


async def _write(fd: int, data: bytearray, digest: hashlib._Hash, path: Path) -> None:
    def work() -> None:
        digest.update(data)
        view = memoryview(data)
        with no_room_is_storage_full(path.parent):
            while view:
                view = view[os.write(fd, view) :]

    await in_thread(work)
