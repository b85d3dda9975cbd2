"""What training code measures, thinned out to what is worth keeping.

A run's events are stored one by one and read to a limit, so a loop that reports every batch would
fill them in its first minutes. The meter lets a first burst through, then a steady trickle, and the
last value of everything at the end: a curve keeps its shape and its end.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from trainbox_guest import protocol
from trainbox_guest.emit import Emitter

BURST = 5000
"""Numbers that pass at once. With one in :data:`REFILL_S` for a whole day that is about 4 MiB of
events, which is what is read of one run."""
REFILL_S = 3.0
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

    def take(self, count: int = 1) -> bool:
        """Return whether ``count`` may pass now: all of them, or none."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) / self._refill_s)
        self._seen = now
        if self._left < count:
            return False
        self._left -= count
        return True


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
        self._numbers = Bucket(BURST, REFILL_S, clock)
        self._messages = Bucket(MESSAGES, MESSAGE_REFILL_S, clock)
        self._progress_at = float("-inf")
        self._held: Dict[str, Tuple[float, Optional[int], Optional[float]]] = {}
        self.last: Dict[str, float] = {}

    def metrics(
        self,
        values: Mapping[str, Any],
        *,
        step: Optional[int] = None,
        epoch: Optional[float] = None,
    ) -> None:
        """Report numbers of one moment: all of them, or none and the last ones at the end."""
        numbers = self._known(values)
        if not numbers:
            return
        self.last.update(numbers)
        if self._numbers.take(len(numbers)):
            for name, value in numbers.items():
                self._held.pop(name, None)
                self._metric(name, value, step, epoch)
        else:
            self._held.update((name, (value, step, epoch)) for name, value in numbers.items())

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
        for name, (value, step, epoch) in held.items():
            self._metric(name, value, step, epoch)

    def _known(self, values: Mapping[str, Any]) -> Dict[str, float]:
        numbers: Dict[str, float] = {}
        for name, value in values.items():
            if name in self.last or (len(self.last) + len(numbers) < MOST_NAMES and _named(name)):
                with suppress(TypeError, ValueError, OverflowError):
                    numbers[name] = float(value)
        return numbers

    def _metric(self, name: str, value: float, step: Optional[int], epoch: Optional[float]) -> None:
        # A full disk, or a script that closed every descriptor: its own run still goes on.
        with suppress(OSError, protocol.ProtocolError, TypeError, ValueError, OverflowError):
            self._emit.metric(name, value, step=step, epoch=epoch)


def _named(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME
