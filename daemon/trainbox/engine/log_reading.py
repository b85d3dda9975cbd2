"""Reads what jobs printed: as one run of bytes, and as lines that were parsed before."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from trainbox.engine.log_files import DamagedLog, Identity, LogFile
from trainbox_guest.shim.log_times import Piece
from trainbox_sdk.job_logs import LogFilter, LogPage
from trainbox_sdk.log_parsing import AttemptLog, ParsedPart, choose, parse

log = logging.getLogger(__name__)

CHUNK = 64 * 1024
PART_BYTES = 1024 * 1024
"""Lines are parsed in parts of this size, so that of a log that grows only the last is done anew
and no other thread waits long for the interpreter."""
CACHE_BYTES = 64 * 1024**2


class LogCursor:
    """Reads the concatenation of logs. Belongs to one reader; one thread at a time.

    A compressed log stays open between two reads: to begin again would unpack all before.
    """

    def __init__(self) -> None:
        self._open: tuple[Path, IO[bytes]] | None = None

    def read(self, logs: Sequence[LogFile], position: int) -> bytes:
        """Return the next bytes at a position; none at the end."""
        for each in logs:
            found = each.identity()
            if found is None:
                continue
            if position < found.bytes:
                return self._read_one(each, found, position)
            position -= found.bytes
        return b""

    def close(self) -> None:
        """Let go of what is open; harmless twice."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _read_one(self, each: LogFile, found: Identity, position: int) -> bytes:
        try:
            if not found.packed:
                return each.read(position, CHUNK)
            if self._open is None or self._open[0] != each.path:
                self.close()
                self._open = each.path, each.open()
            file = self._open[1]
            if file.tell() != position:
                file.seek(position)
            return file.read(CHUNK)
        except (DamagedLog, FileNotFoundError) as error:  # deleted just now, or spoilt
            log.warning("log not read", extra={"path": str(each.path), "why": str(error)})
            return b""


@dataclass
class _Parsed:
    """What is known of one log.

    Attributes:
        identity: of the file when it was read.
        parts: its lines; the last part may have to be read again.
        pieces: when what came, and the identity of the notes then.
    """

    identity: Identity
    parts: list[ParsedPart] = field(default_factory=list)
    pieces: Sequence[Piece] = ()
    noted: Identity | None = None

    @property
    def cost(self) -> int:
        return sum(part.cost for part in self.parts) + 100 * len(self.pieces)


class LogShelf:
    """Parsed logs, the least used forgotten first. For any thread.

    Args:
        cache_bytes: about how much memory they may take.
        part_bytes: how much is parsed at once.
    """

    def __init__(self, cache_bytes: int = CACHE_BYTES, part_bytes: int = PART_BYTES) -> None:
        self._cache_bytes = cache_bytes
        self._part_bytes = part_bytes
        self._shelf: OrderedDict[Path, _Parsed] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, logs: Sequence[tuple[int, LogFile]], which: LogFilter) -> LogPage:
        """Return lines of logs.

        Args:
            logs: each with the number of its attempt, in their order.
            which: of their lines.
        """
        with self._lock:
            found = [(number, self._parsed(each)) for number, each in logs]
            attempts = [
                AttemptLog(number, tuple(parsed.parts), parsed.pieces)
                for number, parsed in found
                if parsed is not None
            ]
            self._forget()
        return choose(attempts, which)

    def _parsed(self, each: LogFile) -> _Parsed | None:
        identity = each.identity()
        known = self._shelf.pop(each.path, None)
        if identity is None:
            return None
        known = known if known is not None and _goes_on(known.identity, identity) else None
        parsed = known or _Parsed(Identity(identity.inode, 0, identity.packed))
        try:
            if identity.bytes > parsed.identity.bytes:
                _read_on(parsed, each, identity.bytes, self._part_bytes)
        except DamagedLog as error:
            log.warning("log not read", extra={"path": str(each.path), "why": str(error)})
            return None
        parsed.identity = identity
        noted = each.times.identity()
        if noted != parsed.noted:
            parsed.pieces, parsed.noted = each.pieces(), noted
        self._shelf[each.path] = parsed
        return parsed

    def _forget(self) -> None:
        total = sum(parsed.cost for parsed in self._shelf.values())
        while total > self._cache_bytes and self._shelf:
            with suppress(KeyError):
                total -= self._shelf.popitem(last=False)[1].cost


def _goes_on(before: Identity, now: Identity) -> bool:
    """Whether what was read is the beginning of what is there now."""
    if before.packed or now.packed:
        return before.bytes == now.bytes  # packing changes no byte
    return before.inode == now.inode and before.bytes <= now.bytes


def _read_on(parsed: _Parsed, each: LogFile, end: int, part_bytes: int) -> None:
    """Parse what came since, together with the last part: its last line may have grown."""
    begin = parsed.parts.pop().begin if parsed.parts else 0
    data = each.read(begin, end - begin)
    at = 0
    while at < len(data):
        stop = _end_of_part(data, at, part_bytes)
        parsed.parts.append(parse(data[at:stop], begin + at))
        at = stop


def _end_of_part(data: bytes, at: int, part_bytes: int) -> int:
    if len(data) - at <= part_bytes:
        return len(data)
    stop = data.rfind(b"\n", at, at + part_bytes) + 1 or data.find(b"\n", at) + 1
    return stop or len(data)
