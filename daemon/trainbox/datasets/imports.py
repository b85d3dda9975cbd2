"""Files of the server itself, under roots an admin allows, without following a single link.

The path is walked from the root, one directory descriptor after another, each opened with
``O_NOFOLLOW`` (open(2)): a link that appears meanwhile is refused like one that was there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from trainbox.blobs import in_thread
from trainbox_sdk.errors import FieldError, Forbidden, ValidationFailed

BLOCK = 1024**2
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Nonblocking, for a FIFO would otherwise hold the thread until someone writes to it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ImportRoots:
    """The directories whose files may be imported.

    Args:
        roots: absolute; links in the roots' own names are the admin's business.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(Path(os.path.normpath(root)) for root in roots)

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a regular file under a root; yields its bytes.

        Raises:
            Forbidden: no roots are allowed.
            ValidationFailed: not under a root, absent, a link, or no regular file.
        """
        if not self._roots:
            raise Forbidden(
                "this daemon imports no files of its own machine",
                code="imports_disabled",
                hint="an admin allows folders with TRAINBOX_ALLOWED_IMPORT_ROOTS",
            )
        root, parts = self._under(path)
        fd = await in_thread(_walk, root, parts)
        try:
            yield _blocks(fd)
        finally:
            os.close(fd)

    def _under(self, path: str) -> tuple[Path, tuple[str, ...]]:
        given = PurePosixPath(path)
        if "\0" in path or ".." in given.parts or not given.is_absolute():
            raise _refused("must be absolute, without '..'")
        for root in self._roots:
            if given.is_relative_to(root) and given.parts != root.parts:
                return root, given.relative_to(root).parts
        raise _refused("is not under a folder that an admin allows")


def _walk(root: Path, parts: Sequence[str]) -> int:
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(f"its allowed folder cannot be opened: {error.strerror}") from error
    for place, part in enumerate(parts):
        flags = _FILE if place == len(parts) - 1 else _FOLDER
        try:
            inner = os.open(part, flags, dir_fd=fd)
        except OSError as error:
            raise _refused(_why(error)) from error
        finally:
            os.close(fd)
        fd = inner
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _refused("is not a regular file")
    return fd


def _why(error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return "leads over a link, or over something that is no folder"
    return f"cannot be opened: {error.strerror}"


def _refused(why: str) -> ValidationFailed:
    problem = FieldError(("path",), why, "give the absolute path of a file under an allowed folder")
    return ValidationFailed(f"path: {why}", code="import_refused", errors=[problem])


async def _blocks(fd: int) -> AsyncIterator[bytes]:
    while block := await in_thread(os.read, fd, BLOCK):
        yield block
