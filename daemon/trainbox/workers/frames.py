"""What daemon and worker say to each other of themselves: JSON documents, each behind its length.

A frame is four bytes, the length of the rest as a big-endian number, then JSON in UTF-8.
"""

from __future__ import annotations

import json
import socket
from typing import Any

MAX_BYTES = 256 * 1024**2
_HEAD = 4


class BadFrame(Exception):
    """The other side did not send a frame of JSON."""


def encode(document: Any) -> bytes:
    """Return the frame of a document.

    Raises:
        BadFrame: larger than :data:`MAX_BYTES`.
    """
    body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    if len(body) > MAX_BYTES:
        raise BadFrame(f"a frame of {len(body)} bytes is over {MAX_BYTES}")
    return len(body).to_bytes(_HEAD, "big") + body


def decode(body: bytes) -> dict[str, Any]:
    """Return the document of a frame's body.

    Raises:
        BadFrame: no JSON object.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadFrame(f"a {type(document).__name__} instead of an object")
    return document


def receive(sock: socket.socket) -> dict[str, Any] | None:
    """Read one document from a blocking socket; None when the other side is gone."""
    body = receive_bytes(sock)
    return None if body is None else decode(body)


def receive_bytes(sock: socket.socket) -> bytes | None:
    """Read one frame's body from a blocking socket; None when the other side is gone."""
    head = _receive_exactly(sock, _HEAD)
    return None if head is None else _receive_exactly(sock, int.from_bytes(head, "big"))


def _receive_exactly(sock: socket.socket, count: int) -> bytes | None:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        got = sock.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return bytes(buffer)
