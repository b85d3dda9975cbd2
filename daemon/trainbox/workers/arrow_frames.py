"""The frames of an Arrow IPC stream, walked before any reader sees them.

A stream is messages, each a continuation marker, a length, a flatbuffer and a body, then a marker
with the length 0 (https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from trainbox.workers.refusal import Refused, shown

FILE_MAGIC = b"ARROW1"
FILE_HEAD = 8
"""The file format is the stream format between a padded magic and a footer."""
MAX_METADATA_BYTES = 64 * 1024**2

_MARKER = b"\xff\xff\xff\xff"
_DICTIONARY_BATCH = 2
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
"""Fields of ``Message`` (Arrow's Message.fbs)."""
_DATA = 1
"""Field of ``DictionaryBatch``."""
_COMPRESSION = 3
"""Field of ``RecordBatch``."""

_AGAIN = (
    "upload it again; a file that was still being written or cut off in transit looks like this"
)


def check_frames(path: Path) -> int:
    """Walk the whole file, and return how many bytes precede the stream in it.

    Raises:
        Refused: empty, something else, cut off, or in a way that cannot be read.
    """
    size = path.stat().st_size
    if not size:
        raise Refused("the file is empty", code="empty_file")
    with path.open("rb") as file:
        head = file.read(FILE_HEAD)
        skip = FILE_HEAD if head.startswith(FILE_MAGIC) else 0
        if not skip and not head.startswith(_MARKER):
            raise Refused(
                f"this is not Arrow IPC: it starts with {shown(head)}",
                code="wrong_format",
                hint="send a file or stream of pyarrow.ipc or polars; Feather version 1 is not",
            )
        if skip:
            file.seek(max(size - len(FILE_MAGIC), 0))
            if size < 2 * FILE_HEAD or file.read() != FILE_MAGIC:
                raise _cut_off()
        file.seek(skip)
        try:
            while _frame(file, size):
                pass
        except (struct.error, IndexError) as error:
            raise Refused(
                "the Arrow file is damaged: its frames do not match", hint=_AGAIN
            ) from error
    return skip


def _cut_off() -> Refused:
    return Refused("the Arrow file is cut off: its end is missing", hint=_AGAIN)


def _frame(file: BinaryIO, size: int) -> bool:
    """Step over one message; return whether there are more."""
    prefix = file.read(8)
    if len(prefix) < 8 or not prefix.startswith(_MARKER):  # noqa: PLR2004 - marker and length
        raise _cut_off()
    (length,) = struct.unpack("<i", prefix[4:])
    if length == 0:
        return False
    if not 0 < length <= MAX_METADATA_BYTES:
        raise struct.error("length")
    message = _Table.root(file.read(length))
    body = message.number(_BODY_LENGTH, "<q")
    if body < 0 or file.tell() + body > size:
        raise _cut_off()
    if message.number(_HEADER_TYPE, "<B") == _DICTIONARY_BATCH:
        _refuse_compressed(message.table(_HEADER).table(_DATA))
    file.seek(body, 1)
    return True


def _refuse_compressed(dictionary: _Table) -> None:
    """Refuse what nanoarrow 0.9 would read as if it were not compressed."""
    if dictionary.at(_COMPRESSION) is not None:
        raise Refused(
            "categorical (dictionary-encoded) columns in a compressed Arrow file cannot be read",
            code="unsupported_type",
            hint="write it uncompressed, with the categories as plain strings, or as Parquet",
        )


class _Table:
    """A flatbuffer table (https://flatbuffers.dev/internals/), read by field number."""

    def __init__(self, buffer: bytes, start: int) -> None:
        self._buffer = buffer
        self._start = start

    @classmethod
    def root(cls, buffer: bytes) -> _Table:
        """Return the table a buffer starts with."""
        return cls(buffer, *_unpack("<I", buffer, 0))

    def at(self, field: int) -> int | None:
        """Return where a field lies, None where it is absent."""
        (back,) = _unpack("<i", self._buffer, self._start)
        vtable = self._start - back
        (end,) = _unpack("<H", self._buffer, vtable)
        slot = 4 + 2 * field
        if slot >= end:
            return None
        (offset,) = _unpack("<H", self._buffer, vtable + slot)
        return self._start + offset if offset else None

    def number(self, field: int, how: str) -> int:
        """Return a number, 0 where it is absent."""
        at = self.at(field)
        return 0 if at is None else int(_unpack(how, self._buffer, at)[0])

    def table(self, field: int) -> _Table:
        """Return a table within."""
        at = self.at(field)
        if at is None:
            raise struct.error("absent")
        return _Table(self._buffer, at + _unpack("<I", self._buffer, at)[0])


def _unpack(how: str, buffer: bytes, at: int) -> tuple[int, ...]:
    if at < 0:
        raise struct.error("before the start")
    return struct.unpack_from(how, buffer, at)
