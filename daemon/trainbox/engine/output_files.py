"""Opens what a dead sandbox left behind, without following or believing any of it.

Everything is opened relative to a descriptor of the directory above it and without following links.
Taken are regular files with one name; whatever else lies there is refused by name, since leaving it
out would pass on a model that lacks a part. Nothing is unpacked, loaded or run.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainbox.engine.verdict import StepEnds
from trainbox_sdk.tasks import Output

MAX_DEPTH = 16
MAX_NAME_BYTES = 512
"""Of a path below the declared name."""
_QUOTED = 120
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO without it would block for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HIDING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that break a line, or that nobody sees."""
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link; write the file itself",
}


class OutputRefused(StepEnds):
    """A declared output is missing or not what it should be, so the step fails.

    Attributes:
        code: ``output_missing``, ``output_refused``, ``output_changed``, ``result_invalid``,
            ``parity_failed`` or ``artifact_refused``.
    """


def refused(text: str) -> OutputRefused:
    """Return a refusal of something that lies there."""
    return OutputRefused("output_refused", text)


@dataclass(frozen=True)
class Found:
    """One regular file.

    Attributes:
        path: below the output directory, parts joined by slashes; what the artifact is called.
        size: apparent: holes count.
    """

    path: str
    size: int


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Open the output directory itself.

    Raises:
        OutputRefused: it is none any more.
    """
    try:
        fd = os.open(folder, _DIRECTORY)
    except OSError as error:
        raise refused(f"the output directory cannot be read: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def find(folder_fd: int, output: Output) -> list[Found]:
    """Return the files of an output, in the order of their names; none for one that is absent.

    Raises:
        OutputRefused: a link, no regular file, several names, too many, too large, or a name that
            cannot be passed on; says which.
    """
    try:
        info = os.stat(output.name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise refused(_open_sentence(output.name, error)) from error
    if stat.S_ISDIR(info.st_mode) and output.tree:
        return _Walk(output).files(folder_fd)
    problem = _problem(info, output) or ("" if info.st_size else "is empty")
    if problem:
        raise refused(f"{output.name} {problem}")
    return [Found(output.name, info.st_size)]


@contextmanager
def reading(folder_fd: int, found: Found, output: Output) -> Iterator[int]:
    """Open a file that :func:`find` found, each folder of its path relative to the one above.

    Raises:
        OutputRefused: it is not what it was.
    """
    *folders, name = found.path.split("/")
    held = [os.dup(folder_fd)]
    try:
        try:
            for folder in folders:
                held.append(os.open(folder, _DIRECTORY, dir_fd=held[-1]))
            held.append(os.open(name, _FILE, dir_fd=held[-1]))
        except OSError as error:
            raise refused(_open_sentence(found.path, error)) from error
        problem = _problem(os.fstat(held[-1]), output)
        if problem:
            raise refused(f"{found.path} {problem}")
        yield held[-1]
    finally:
        for fd in held:
            os.close(fd)


def shown(name: str) -> str:
    """Return a name as one line of visible characters, however it was made."""
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    safe = "".join(c if unicodedata.category(c) not in _HIDING else ascii(c)[1:-1] for c in text)
    return safe if len(safe) <= _QUOTED else f"{safe[:_QUOTED]}…"


class _Walk:
    """One look through the directory of an output."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._found: list[Found] = []
        self._bytes = 0
        self._folders = 0

    def files(self, folder_fd: int) -> list[Found]:
        """Return the files in it."""
        self._enter(folder_fd, self._output.name, self._output.name, 1)
        return sorted(self._found, key=lambda found: found.path)

    def _enter(self, parent: int, name: str, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise refused(f"{shown(path)} lies deeper than {MAX_DEPTH} folders")
        self._folders += 1
        if self._folders > self._output.max_files:
            raise refused(f"{self._output.name} holds more than {self._output.max_files} folders")
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            raise refused(_open_sentence(path, error)) from error
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    self._look(fd, entry.name, f"{path}/{entry.name}", depth)
        finally:
            os.close(fd)

    def _look(self, parent: int, name: str, path: str, depth: int) -> None:
        _require_name(name, path)
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            self._enter(parent, name, path, depth + 1)
            return
        problem = _problem(info, self._output)
        if problem:
            raise refused(f"{shown(path)} {problem}")
        self._found.append(Found(path, info.st_size))
        self._bytes += info.st_size
        if len(self._found) > self._output.max_files:
            raise refused(f"{self._output.name} holds more than {self._output.max_files} files")
        if self._bytes > self._output.max_bytes:
            raise refused(
                f"{self._output.name} holds more than {self._output.max_bytes} bytes in all"
            )


def _require_name(name: str, path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise refused(f"{shown(path)}: its name is not UTF-8; rename it") from None
    hidden = next((c for c in name if unicodedata.category(c) in _HIDING), None)
    if hidden is not None:
        raise refused(
            f"{shown(path)}: its name holds U+{ord(hidden):04X}, which is not shown; rename it"
        )
    if size > MAX_NAME_BYTES:
        raise refused(f"{shown(path)}: its path is longer than {MAX_NAME_BYTES} bytes")


def _open_sentence(name: str, error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return f"{shown(name)} is a symbolic link; write the file itself"
    if error.errno == errno.ENXIO:
        return f"{shown(name)} is a socket or an unread pipe; write a regular file"
    return f"{shown(name)} cannot be opened: {error.strerror}"


def _problem(info: os.stat_result, output: Output) -> str:
    if stat.S_ISDIR(info.st_mode):
        return "is a directory; write a file"
    if not stat.S_ISREG(info.st_mode):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "a special file")
        return f"is {kind}, not a regular file" if ";" not in kind else f"is {kind}"
    if info.st_nlink != 1:
        return f"has {info.st_nlink} names (hard links); leave one"
    if info.st_size > output.max_bytes:
        return f"has {info.st_size} bytes, over the limit of {output.max_bytes}"
    return ""
