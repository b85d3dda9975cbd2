"""Understands metrics that a program prints: JSON lines on standard output.

Read are lines such as ``{"metric": {"loss": 0.1}, "epoch": 3, "total_epochs": 10}`` and
``{"metric": "loss", "value": 0.1}`` that start at the beginning of a line. They are printed like
any other; what is watched is a layer under ``sys.stdout`` that passes every byte on first.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Dict, Mapping, Optional, cast

from trainbox_guest.meter import Meter

LONGEST_LINE = 16 * 1024
TOTALS = (("epoch", "total_epochs"), ("epoch", "epochs"), ("step", "total_steps"))
"""Pairs of words that together say how far a run is."""


class MetricLines:
    """Cuts bytes into lines and reports those that are metrics.

    No lock: threads that print in turns garble their lines, and with them this state, for one line.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._part = bytearray()
        self._skip = False
        """Whether the rest of the line under way cannot be a metric."""

    def feed(self, data: bytes) -> None:
        """Take what was printed next."""
        start = 0
        while True:
            end = data.find(b"\n", start)
            self._take(data[start:] if end < 0 else data[start:end])
            if end < 0:
                return
            if self._part and not self._skip:
                self._line(bytes(self._part))
            self._part.clear()
            self._skip = False
            start = end + 1

    def _take(self, piece: bytes) -> None:
        if self._skip or not piece:
            return
        starts = self._part or piece
        if not starts.startswith(b"{") or len(self._part) + len(piece) > LONGEST_LINE:
            self._skip = True
            self._part.clear()
        else:
            self._part += piece

    def _line(self, line: bytes) -> None:
        if b'"metric' not in line:
            return
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(said, dict):
            self._report(said)

    def _report(self, said: Mapping[str, Any]) -> None:
        step, epoch = _number(said.get("step")), _number(said.get("epoch"))
        values = metrics_of(said)
        if not values:
            return
        self._meter.metrics(
            values,
            step=None if step is None else int(step),
            epoch=epoch,
            total_epochs=total_epochs_of(said),
        )
        fraction = fraction_of(said)
        if fraction is not None:
            self._meter.progress(fraction)


def metrics_of(said: Mapping[str, Any]) -> Dict[str, float]:
    """Return the numbers of one printed document; empty where it has none."""
    named = said.get("metric", said.get("metrics"))
    if isinstance(named, str):
        named = {named: said.get("value")}
    if not isinstance(named, dict):
        return {}
    numbers = {str(name): _number(value) for name, value in named.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def total_epochs_of(said: Mapping[str, Any]) -> Optional[float]:
    """Return how many epochs a document says there will be, where that is a number above 0."""
    for done_word, total_word in TOTALS:
        total = _number(said.get(total_word)) if done_word == "epoch" else None
        if total is not None and 0 < total < float("inf"):
            return total
    return None


def fraction_of(said: Mapping[str, Any]) -> Optional[float]:
    """Return how far a run is that says its epoch or step and how many there will be."""
    for done_word, total_word in TOTALS:
        done, total = _number(said.get(done_word)), _number(said.get(total_word))
        if done is not None and total is not None and total > 0:
            return min(max(done / total, 0.0), 1.0)
    return None


class WatchedFile(io.FileIO):
    """A file descriptor whose written bytes are also looked at."""

    def __init__(self, fd: int, lines: MetricLines) -> None:
        super().__init__(fd, "wb", closefd=False)
        self._lines = lines

    def write(self, data: Any) -> int:
        """Write, then look at what was written."""
        written = super().write(data)
        with suppress(Exception):  # whatever a line does, printing it must not fail
            self._lines.feed(bytes(memoryview(data).cast("B")[:written]))
        return written


def watch_stdout(meter: Meter) -> None:
    """Put the layer under ``sys.stdout``; all else of it stays as it was.

    Nothing is done where a program has put something else there, such as a buffer of a test.
    """
    old = sys.stdout
    if not isinstance(old, io.TextIOWrapper):
        return
    old.flush()
    raw = WatchedFile(old.fileno(), MetricLines(meter))
    raw.name = old.name
    new = io.TextIOWrapper(
        cast("BinaryIO", raw),  # as Python does it itself when it runs unbuffered
        encoding=old.encoding,
        errors=old.errors,
        newline="\n",
        line_buffering=old.line_buffering,
        write_through=True,
    )
    new.mode = "w"  # type: ignore[misc]
    sys.stdout = new


def _number(value: Any) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        float(value)
    except OverflowError:
        return None
    return value
