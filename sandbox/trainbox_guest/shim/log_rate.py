"""How fast output may come: beyond it whole lines are dropped and one line says how many."""

from __future__ import annotations

from dataclasses import dataclass

_KEPT_AT_END = 64 * 1024
_RECOVERED = 0.25
"""Share of the burst that must have come back before lines pass again: with less, a steady flood
would be chopped into single lines with a notice after each."""


@dataclass(frozen=True)
class LogRate:
    """A limit on output, kept as two token buckets (bytes and lines).

    Attributes:
        bytes_per_s, lines_per_s: what may come for hours.
        burst_s: how many seconds' worth may come at once.
    """

    bytes_per_s: float
    lines_per_s: float
    burst_s: float = 30.0


class RateGate:
    """Lets output through, or drops it by whole lines. Time comes from the caller and may jump.

    The last of what is dropped is remembered: if the output ends there, that tells the most.

    Args:
        rate: the limit.
    """

    def __init__(self, rate: LogRate) -> None:
        self._rate = rate
        self._bytes = self._byte_burst = rate.bytes_per_s * rate.burst_s
        self._lines = self._line_burst = rate.lines_per_s * rate.burst_s
        self._at: float | None = None
        self._dropping = False
        self._limit = ""
        self._dropped_bytes = 0
        self._dropped_lines = 0
        self._rest = bytearray()
        self._open_line = False
        self.dropped = False
        """Whether anything has ever been dropped."""

    def through(self, data: bytes, at: float) -> bytes:
        """Return what may pass of the next piece.

        Args:
            data: the piece.
            at: when it came, in seconds.
        """
        self._refill(at)
        if self._dropping:
            return self._again(data, at) if self._recovered() else self._drop(data)
        fits = self._fitting(data)
        passed = data[:fits]
        self._bytes -= fits
        self._lines -= passed.count(b"\n")
        if passed:
            self._open_line = not passed.endswith(b"\n")
        if fits < len(data):
            self._dropping = self.dropped = True
            self._drop(data[fits:])
        return passed

    def end(self) -> bytes:
        """Return the notice that is due and the end of what was dropped."""
        if not self._dropping:
            return b""
        rest = bytes(self._rest[-_KEPT_AT_END:])
        if len(rest) < self._dropped_bytes:
            rest = rest[rest.find(b"\n") + 1 :]  # from the beginning of a line
        return self._notice(kept=rest) + rest

    def _refill(self, at: float) -> None:
        passed_s = 0.0 if self._at is None else max(0.0, at - self._at)
        self._at = at
        self._bytes = min(self._byte_burst, self._bytes + passed_s * self._rate.bytes_per_s)
        self._lines = min(self._line_burst, self._lines + passed_s * self._rate.lines_per_s)

    def _recovered(self) -> bool:
        lines, size = self._line_burst * _RECOVERED, self._byte_burst * _RECOVERED
        return self._lines >= lines and self._bytes >= size

    def _fitting(self, data: bytes) -> int:
        """Return how many bytes pass: all, or as many whole lines as both buckets hold."""
        over_bytes = len(data) > self._bytes
        over_lines = data.count(b"\n") > self._lines
        if not over_bytes and not over_lines:
            return len(data)
        end = len(data)
        if over_bytes:
            self._limit = f"{self._rate.bytes_per_s:.0f} bytes a second"
            end = data.rfind(b"\n", 0, max(0, int(self._bytes))) + 1
        if data.count(b"\n", 0, end) > self._lines:
            self._limit = f"{self._rate.lines_per_s:.0f} lines a second"
            end = _end_of_line(data, int(self._lines))
        return end

    def _drop(self, data: bytes) -> bytes:
        self._dropped_bytes += len(data)
        self._dropped_lines += data.count(b"\n")
        self._rest += data[-_KEPT_AT_END:]
        if len(self._rest) > 2 * _KEPT_AT_END:
            del self._rest[:-_KEPT_AT_END]
        return b""

    def _again(self, data: bytes, at: float) -> bytes:
        """Let lines pass again, from the first that begins in this piece."""
        begin = data.find(b"\n") + 1
        if begin == 0:
            return self._drop(data)
        self._drop(data[:begin])
        notice = self._notice(kept=b"")
        self._dropping, self._open_line = False, False
        self._dropped_bytes = self._dropped_lines = 0
        self._rest.clear()
        return notice + self.through(data[begin:], at)

    def _notice(self, *, kept: bytes) -> bytes:
        lines = self._dropped_lines - kept.count(b"\n")
        size = self._dropped_bytes - len(kept)
        if not size:
            return b""
        text = f"[trainbox: {lines} lines ({size} bytes) left out here: over {self._limit}]\n"
        return (b"\n" if self._open_line else b"") + text.encode()


def _end_of_line(data: bytes, count: int) -> int:
    """Return where the given number of lines end; 0 for none."""
    end = 0
    for _ in range(count):
        end = data.index(b"\n", end) + 1
    return end
