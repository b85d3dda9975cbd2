"""What a file is, told by its first bytes and its outline: nothing is parsed, let alone run."""

from __future__ import annotations

import os

ONNX = "application/onnx"
TAR = "application/x-tar"
OTHER = "application/octet-stream"

_HEAD = 512
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (257, b"ustar", TAR),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"\x93NUMPY", "application/x-npy"),
)
_PICKLE = b"\x80"
_PICKLE_PROTOCOLS = range(2, 6)

# Fields of onnx.ModelProto (onnx.proto): ir_version, graph, opset_import.
_IR_VERSION, _GRAPH, _OPSETS = 1, 7, 8
_KNOWN_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_MAX_FIELDS = 10_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10


def content_type(fd: int) -> str:
    """Return the media type of an open file; ``application/octet-stream`` for an unknown one.

    The position of the descriptor stays where it is.
    """
    head = os.pread(fd, _HEAD, 0)
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if head[:1] == _PICKLE and head[1:2] and head[1] in _PICKLE_PROTOCOLS:
        return "application/x-pickle"
    return ONNX if looks_like_onnx(fd) else OTHER


def looks_like_onnx(fd: int) -> bool:
    """Whether a file has the outline of an ONNX model: its fields are walked over, not read."""
    size, place, seen = os.fstat(fd).st_size, 0, set[int]()
    for _ in range(_MAX_FIELDS):
        if place >= size:
            break
        field = _field(fd, place, size)
        if field is None or field[0] not in _KNOWN_FIELDS:
            return False
        seen.add(field[0])
        place = field[1]
    return place == size and {_IR_VERSION, _GRAPH} <= seen


def _field(fd: int, place: int, size: int) -> tuple[int, int] | None:
    """Return a protobuf field's number and where the next one begins; None for nonsense.

    https://protobuf.dev/programming-guides/encoding/
    """
    head = os.pread(fd, 2 * _VARINT_BYTES, place)
    tag = _varint(head, 0)
    if tag is None:
        return None
    (number, after), wire = tag, tag[0] & 7
    if wire == _VARINT:
        value = _varint(head, after)
        end = None if value is None else place + value[1]
    elif wire == _BYTES:
        length = _varint(head, after)
        end = None if length is None else place + length[1] + length[0]
    else:
        end = place + after + {_FIXED64: 8, _FIXED32: 4}.get(wire, size)
    return None if end is None or end > size else (number >> 3, end)


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    value = 0
    for shift, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at + shift + 1
    return None
