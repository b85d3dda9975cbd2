"""What training code measures, thinned out to what is worth keeping.

A run's events are stored one by one and read to a limit, so a loop that reports every batch would
fill them in its first minutes. The meter keeps every number of a short curve, then every 2nd, every
4th, every 8th, and the last value of everything at the end. The strides are powers of two, so that
a reader who takes the last stride for all of a curve has it evenly from its first point to its end.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from trainbox_guest import protocol
from trainbox_guest.emit import Emitter

KEPT = 4096
"""Numbers that all names together keep before they are thinned; each doubling of a curve adds half
as many. A hundred million reports come to about 4 MiB of events, which is what is read of one
run."""
FEWEST = 8
"""Numbers of a name that are kept at one stride, however many names there are."""
THINNED = (
    "more numbers were reported than are kept: of long curves every 2nd, then every 4th, 8th, … "
    "and the last are, spread over the whole run"
)
MESSAGES = 200
MESSAGE_REFILL_S = 10.0
PROGRESS_S = 0.5
"""Seconds between two reports of progress, but for the last."""
MOST_NAMES = 256
LONGEST_NAME = 200

Clock = Callable[[], float]


class Bucket:
    """Lets ``burst`` through at once and then one in ``refill_s`` seconds."""

    def __init__(self, burst: int, refill_s: float, clock: Clock) -> None:
        self._burst = float(burst)
        self._refill_s = refill_s
        self._clock = clock
        self._left = self._burst
        self._seen = clock()

    def take(self) -> bool:
        """Return whether one more may pass now."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) / self._refill_s)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass
class Curve:
    """How much of one metric was let through.

    Attributes:
        seen: how many numbers were reported.
        stride: one in so many passes, a power of two.
        thinned: whether a number was left out.
    """

    seen: int = 0
    stride: int = 1
    thinned: bool = False

    def take(self, most: int) -> bool:
        """Count a number; returns whether it passes.

        Args:
            most: numbers that are let through at one stride before the next.
        """
        number = self.seen
        self.seen += 1
        while number >= self.stride * most:
            self.stride *= 2
        passes = number % self.stride == 0
        self.thinned = self.thinned or not passes
        return passes


@dataclass(frozen=True)
class Place:
    """Where in a run a number belongs; None where that was not said.

    Attributes:
        total_epochs: how many epochs the run will have.
    """

    step: Optional[int] = None
    epoch: Optional[float] = None
    total_epochs: Optional[float] = None


class Meter:
    """Reports metrics, progress and messages at a bounded rate; it never raises.

    Args:
        emit: where they go.
        clock: seconds that never run backwards.

    Attributes:
        last: the last value of each metric, of the first :data:`MOST_NAMES` names.
    """

    def __init__(self, emit: Emitter, clock: Clock = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._began = clock()
        self._curves: Dict[str, Curve] = {}
        self._messages = Bucket(MESSAGES, MESSAGE_REFILL_S, clock)
        self._progress_at = float("-inf")
        self._held: Dict[str, Tuple[float, Place]] = {}
        self._said_thinned = False
        self.last: Dict[str, float] = {}

    def metrics(
        self,
        values: Mapping[str, Any],
        *,
        step: Optional[int] = None,
        epoch: Optional[float] = None,
        total_epochs: Optional[float] = None,
    ) -> None:
        """Report numbers of one moment; what is left out of a long curve comes back as its end."""
        numbers = self._known(values)
        self.last.update(numbers)
        place = Place(step, epoch, total_epochs)
        for name in numbers:
            self._curves.setdefault(name, Curve())
        most = max(FEWEST, KEPT // max(1, len(self._curves)))
        for name, value in numbers.items():
            if self._curves[name].take(most):
                self._held.pop(name, None)
                self._metric(name, value, place)
            else:
                self._held[name] = (value, place)
                self._say_thinned()

    def progress(
        self, fraction: float, *, eta_s: Optional[float] = None, message: str = ""
    ) -> None:
        """Report how far the run is, at most every :data:`PROGRESS_S` seconds.

        Args:
            fraction: in [0, 1].
            eta_s: seconds left; from the time the run has taken so far where it is not given.
            message: a few words.
        """
        now = self._clock()
        if fraction < 1.0 and now - self._progress_at < PROGRESS_S:
            return
        self._progress_at = now
        if eta_s is None and fraction > 0:
            eta_s = (now - self._began) * max(0.0, 1.0 - fraction) / fraction
        with suppress(OSError, ValueError, OverflowError):
            self._emit.progress(fraction, message=message[:500], eta_s=eta_s)

    def message(self, text: str, *, level: str = "info") -> None:
        """Tell a person something; ``level`` is debug, info, warning or error."""
        if self._messages.take():
            with suppress(OSError, ValueError):
                self._emit.message(text, level=level)

    def finish(self) -> None:
        """Report what was held back: the last value of each metric."""
        held, self._held = self._held, {}
        for name, (value, place) in held.items():
            self._metric(name, value, place)

    def _known(self, values: Mapping[str, Any]) -> Dict[str, float]:
        numbers: Dict[str, float] = {}
        for name, value in values.items():
            if name in self.last or (len(self.last) + len(numbers) < MOST_NAMES and _named(name)):
                with suppress(TypeError, ValueError, OverflowError):
                    numbers[name] = float(value)
        return numbers

    def _say_thinned(self) -> None:
        if not self._said_thinned:
            self._said_thinned = True
            self.message(THINNED)

    def _metric(self, name: str, value: float, place: Place) -> None:
        curve = self._curves[name]
        # A full disk, or a script that closed every descriptor: its own run still goes on.
        with suppress(OSError, protocol.ProtocolError, TypeError, ValueError, OverflowError):
            self._emit.metric(
                name,
                value,
                step=place.step,
                epoch=place.epoch,
                total_epochs=place.total_epochs,
                nth=curve.seen - 1 if curve.thinned else None,
            )


def _named(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME
