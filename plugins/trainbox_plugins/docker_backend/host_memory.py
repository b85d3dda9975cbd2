"""The host's memory, as its kernel tells it (proc(5))."""

from __future__ import annotations

from pathlib import Path


def total_bytes() -> int:
    """Return what the host has."""
    return _field("MemTotal")


def available_bytes() -> int:
    """Return what could be given out now without swapping."""
    return _field("MemAvailable")


def _field(name: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        key, _, rest = line.partition(":")
        if key == name:
            return int(rest.split()[0]) * 1024
    return 0
