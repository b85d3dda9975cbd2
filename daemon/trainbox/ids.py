"""Names for things: a short word for the kind, then a UUIDv7 (RFC 9562, section 5.7).

UUIDv7 starts with the time, so that new rows land at the end of an index; base32hex (RFC 4648,
section 7) in lower case keeps that order in the text and is valid in file names and engine names.
"""

from __future__ import annotations

import base64
import os
import re
import threading
import time

PREFIXES = ("job", "stp", "att", "ds", "art", "mdl", "tok", "whk", "msg", "dlv", "upl", "ast")
"""Job, step, attempt, dataset, artifact, model, token, webhook, message, delivery, upload and
asset."""

_ID = re.compile(rf"({'|'.join(PREFIXES)})_[0-9a-v]{{26}}")


class _Source:
    """UUIDv7 with sub-millisecond time (RFC 9562, section 6.2, method 3), from pooled randomness.

    A job needs several ids; asking the kernel for each took a tenth of a submission's time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = b""
        self._last = 0

    def random(self, size: int) -> bytes:
        """Return random bytes; ids of the store are looked up by owner, so none is a secret."""
        with self._lock:
            return self._take(size)

    def uuid7(self) -> bytes:
        """Return the next 16 bytes; later ones of this process compare greater."""
        with self._lock:
            # 48 bits of milliseconds and 12 of their fraction, in one rising number.
            ticks = max(time.time_ns() * 4096 // 1_000_000, self._last + 1)
            self._last = ticks
            rest = int.from_bytes(self._take(8), "big") & (2**62 - 1)
        value = (ticks >> 12) << 80 | 7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | rest
        return value.to_bytes(16, "big")

    def _take(self, size: int) -> bytes:
        if len(self._pool) < size:
            self._pool = os.urandom(4096)
        taken, self._pool = self._pool[:size], self._pool[size:]
        return taken


_SOURCE = _Source()


def new_id(prefix: str) -> str:
    """Return a new id such as ``job_06gvr643odt4nf8ecarj0g5oi4``; ``prefix`` is a known one."""
    if prefix not in PREFIXES:
        raise ValueError(f"unknown id prefix {prefix!r}, one of {', '.join(PREFIXES)}")
    return f"{prefix}_{base64.b32hexencode(_SOURCE.uuid7()).decode().rstrip('=').lower()}"


def random_hex(size: int) -> str:
    """Return ``size`` random bytes as hex, for names that only have to differ."""
    return _SOURCE.random(size).hex()


def is_id(text: str, prefix: str) -> bool:
    """Return whether the text has the form of an id of that kind; says nothing of its existence."""
    found = _ID.fullmatch(text)
    return found is not None and found[1] == prefix
