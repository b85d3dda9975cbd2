"""One attempt's log on disk: plain while it may grow, compressed once it has ended.

::

    logs/<attempt>.log              what was printed, byte for byte
    logs/<attempt>.log.times        when which of it came
    logs/<attempt>.log.zst          the same, packed; with .log.times.zst
"""

from __future__ import annotations

import importlib
import io
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from trainbox.durable import sync_directory
from trainbox_guest.shim import log_times
from trainbox_guest.shim.log_times import Piece

log = logging.getLogger(__name__)

PACKED = ".zst"
PART = ".part"
_LEVEL = 6
_BLOCK = 1024 * 1024
_HEADER_BYTES = 18
"""Largest header of a Zstandard frame (RFC 8878 §3.1.1.1)."""


def _zstd() -> ModuleType:
    try:
        return importlib.import_module("compression.zstd")  # from Python 3.14 on, PEP 784
    except ImportError:
        return importlib.import_module("backports.zstd")


class DamagedLog(Exception):
    """A compressed log that cannot be read: the disk's fault, or someone's who wrote there."""


@dataclass(frozen=True)
class Identity:
    """Which file a log is at the moment: one that was written anew has another.

    Attributes:
        inode: of the file.
        bytes: of the log, uncompressed.
        packed: whether it is compressed, and so will not change any more.
    """

    inode: int
    bytes: int
    packed: bool


@dataclass(frozen=True)
class LogFile:
    """A log, wherever it lies.

    Attributes:
        path: of the plain file.
    """

    path: Path

    @property
    def packed(self) -> Path:
        """The compressed file."""
        return self.path.with_name(self.path.name + PACKED)

    @property
    def times(self) -> LogFile:
        """The notes beside it."""
        return LogFile(self.path.with_name(self.path.name + log_times.SUFFIX))

    def identity(self) -> Identity | None:
        """Return which file it is now; None where there is none, or none that can be read."""
        with suppress(FileNotFoundError):
            facts = self.path.stat()
            return Identity(facts.st_ino, facts.st_size, packed=False)
        try:
            with self.packed.open("rb") as file:
                inode, head = os.fstat(file.fileno()).st_ino, file.read(_HEADER_BYTES)
            return Identity(inode, _content_bytes(head), packed=True)
        except FileNotFoundError:
            return None
        except DamagedLog:
            log.warning("damaged log", extra={"path": str(self.packed)})
            return None

    def open(self) -> IO[bytes]:
        """Return its bytes, to be read and sought.

        Raises:
            FileNotFoundError: there is no log.
        """
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            return io.BufferedReader(_Unpacked(_zstd().ZstdFile(self.packed)))

    def read(self, begin: int = 0, count: int = -1) -> bytes:
        """Return bytes from a place on; none where there is no log.

        Raises:
            DamagedLog: it cannot be unpacked.
        """
        try:
            with self.open() as file:
                file.seek(begin)
                return file.read(count)
        except FileNotFoundError:
            return b""

    def pieces(self) -> list[Piece]:
        """Return when what came; none where that was not noted."""
        try:
            return log_times.parse(self.times.read())
        except (OSError, DamagedLog):
            return []

    def pack(self) -> None:
        """Compress it and its notes; at every moment one of the two forms is there and whole.

        Where the plain file goes meanwhile, the log was deleted, and stays so.
        """
        for each in (self.times, self):
            if each.path.exists():
                _pack(each.path, each.packed)


class _Unpacked(io.RawIOBase):
    """A compressed file whose damage shows as such."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._error = _zstd().ZstdError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return int(self._file.seek(offset, whence))
        except (self._error, EOFError) as error:
            raise DamagedLog(str(error)) from error

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._file.readinto(buffer))
        except (self._error, EOFError) as error:
            raise DamagedLog(str(error)) from error

    def close(self) -> None:
        self._file.close()
        super().close()


def _pack(plain: Path, packed: Path) -> None:
    part = packed.with_name(packed.name + PART)
    try:
        with plain.open("rb") as source, part.open("wb") as target:
            _compress(source, target)
            target.flush()
            os.fsync(target.fileno())
        part.chmod(plain.stat().st_mode & 0o777)
        part.replace(packed)
        sync_directory(packed.parent)
        plain.unlink()
    except FileNotFoundError:  # deleted meanwhile
        packed.unlink(missing_ok=True)
    finally:
        part.unlink(missing_ok=True)


def _compress(source: IO[bytes], target: IO[bytes]) -> None:
    packer = _zstd().ZstdCompressor(level=_LEVEL)
    packer.set_pledged_input_size(os.fstat(source.fileno()).st_size)  # so that its header says so
    while block := source.read(_BLOCK):
        target.write(packer.compress(block))
    target.write(packer.flush())


def _content_bytes(head: bytes) -> int:
    zstd = _zstd()
    try:
        size = zstd.get_frame_info(head).decompressed_size
    except zstd.ZstdError as error:
        raise DamagedLog(str(error)) from error
    if size is None:
        raise DamagedLog("its header does not say how long it is")
    return int(size)
