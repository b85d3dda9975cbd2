"""Reads what a guest appends to its event file, while it does and after it died.

The file is hostile: it may be replaced by a link or a FIFO, cut, or flooded. Only whole lines
count, from a byte offset that the store commits together with the events, so a restart neither
loses nor doubles one.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainbox.clock import now
from trainbox.engine import guest_words
from trainbox.store.records import GuestEvent
from trainbox_guest import protocol

CHUNK = 256 * 1024
MAX_EVENTS_PER_READ = 1000
MAX_FILE_BYTES = 4 * 1024**2
"""What is read of one guest's events; the rest of a flood stays in its file."""


@dataclass(frozen=True)
class Read:
    """What one look brought: events in order and the offset behind them."""

    events: tuple[GuestEvent, ...]
    offset: int


def read_events(path: Path, offset: int, since: datetime | None = None) -> Read:
    """Return the whole lines after ``offset``; anything but a regular file is empty.

    Args:
        path: the guest's event file.
        offset: bytes that were read before.
        since: when its attempt began: no event is dated before it, and none after now.
    """
    if offset >= MAX_FILE_BYTES:
        return Read((), offset)
    data = _read_regular(path, offset)
    end = data.rfind(b"\n") + 1
    if end == 0:
        # One "line" that fills a whole chunk is no event: step over it.
        return Read((), offset + len(data) if len(data) == CHUNK else offset)
    events: list[GuestEvent] = []
    consumed = 0
    while consumed < end and len(events) < MAX_EVENTS_PER_READ:
        line_end = data.index(b"\n", consumed) + 1
        raw = _decode(data[consumed:line_end])
        if raw is not None:
            events.append(_event(raw, since))
        consumed = line_end
    return Read(tuple(events), offset + consumed)


def last_failure(path: Path) -> dict[str, Any] | None:
    """Return the last ``failure`` a guest wrote, from the end of its file, however large it is."""
    data = _read_regular(path, max(0, _size(path) - CHUNK))
    for line in reversed(data.split(b"\n")[:-1]):
        raw = _decode(line)
        if raw is not None and raw["t"] == "failure":
            return dict(_event(raw).data)
    return None


def _decode(line: bytes) -> dict[str, Any] | None:
    # A flood of other lines is not worth a parser's time.
    raw = protocol.decode_event(line) if line.startswith(b"{") else None
    return None if raw is None else guest_words.fit(raw)


def _read_regular(path: Path, offset: int) -> bytes:
    fd = _open_regular(path)
    if fd < 0:
        return b""
    try:
        return os.pread(fd, CHUNK, offset)
    finally:
        os.close(fd)


def _open_regular(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return -1
    return fd


def _size(path: Path) -> int:
    fd = _open_regular(path)
    if fd < 0:
        return 0
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def _event(raw: dict[str, Any], since: datetime | None = None) -> GuestEvent:
    data = {key: value for key, value in raw.items() if key not in ("t", "at")}
    return GuestEvent(str(raw["t"]), _time(raw.get("at"), since), data)


def _time(at: Any, since: datetime | None) -> datetime:
    read_at = now()
    try:
        said = datetime.fromtimestamp(float(at), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return read_at
    # Listings and curves are drawn over time: an event of the year 1 or 9999 would be all of one.
    return min(said if since is None else max(said, since), read_at)
