"""Data on its way in: a path, bytes, an open file or a data frame, read piece by piece."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trainbox_client import frames
from trainbox_client.errors import TrainboxError

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
PACKED = frozenset({".gz", ".zst"})


@dataclass
class Source:
    """Bytes with a length, a name and a format."""

    file: BinaryIO
    size: int
    name: str
    format: str

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset`` on."""
        self.file.seek(offset)
        return self.file.read(count)

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


def open_source(data: Any, name: str | None, format: str | None) -> Source:
    """Look at what was given.

    Args:
        data: path, bytes, seekable binary file, or a data frame.
        name: the dataset's name; a file's own by default.
        format: ``csv``, ``jsonl``, ``parquet`` or ``arrow``; by the file's suffix by default.

    Raises:
        TrainboxError: unreadable, or nothing says what format it has.
    """
    if isinstance(data, (str, os.PathLike)):
        return _path(Path(data), name, format)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _memory(bytes(data), name, _required(format, "bytes"))
    if frames.is_frame(data):
        return _memory(frames.to_parquet(data), name, "parquet")
    if hasattr(data, "read") and hasattr(data, "seek"):
        size = data.seek(0, io.SEEK_END)
        own = Path(str(getattr(data, "name", "") or "dataset"))
        return Source(data, size, name or _stem(own), format or _by_suffix(own))
    raise TrainboxError(
        f"cannot read data from {type(data).__name__}: give a path, bytes, a seekable binary "
        "file or a data frame"
    )


def _path(path: Path, name: str | None, format: str | None) -> Source:
    known = format or _by_suffix(path)
    try:
        file = path.open("rb")
        size = path.stat().st_size
    except OSError as error:
        raise TrainboxError(f"cannot read {path}: {error.strerror}") from None
    return Source(file, size, name or _stem(path), known)


def _memory(data: bytes, name: str | None, format: str) -> Source:
    return Source(io.BytesIO(data), len(data), name or "dataset", format)


def _required(format: str | None, what: str) -> str:
    if format is None:
        raise TrainboxError(f"{what} do not say their format: pass format='csv' or another")
    return format


def _stem(path: Path) -> str:
    name = path.name
    for suffix in reversed(path.suffixes):
        if suffix.lower() in PACKED or suffix.lower() in FORMATS:
            name = name.removesuffix(suffix)
    return name or "dataset"


def _by_suffix(path: Path) -> str:
    for suffix in reversed(path.suffixes):
        if suffix.lower() in FORMATS:
            return FORMATS[suffix.lower()]
        if suffix.lower() not in PACKED:
            break
    raise TrainboxError(f"the name {path.name!r} does not say its format: pass format='csv'")
