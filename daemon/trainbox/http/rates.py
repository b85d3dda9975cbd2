"""Token buckets: so many at once, refilled evenly; one number per caller.

The bucket is kept as the time at which it will be full again (the generic cell rate algorithm,
ITU-T I.371 annex A), so that taking from it is a comparison and an addition.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

PERIODS_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
KEPT = 10_000
"""Callers remembered before those with a full bucket are forgotten."""
_RATE = re.compile(rf"([1-9]\d{{0,11}})/({'|'.join(PERIODS_S)})")


@dataclass(frozen=True)
class Rate:
    """So many per period; the amount is also how many may come at once."""

    amount: int
    period_s: float


class Reading(NamedTuple):
    """What one attempt to take found.

    Attributes:
        remaining: how many may still come at once.
        full_in_s: seconds until the whole amount may.
        retry_after_s: seconds until the next one may; 0 where this one might.
    """

    allowed: bool
    remaining: int
    full_in_s: float
    retry_after_s: float


def parse_rate(text: str) -> Rate | None:
    """Return the rate that ``600/minute`` says; None for an empty text, which sets no limit.

    Raises:
        ValueError: it says neither.
    """
    if not text:
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a rate such as '600/minute', or empty for no limit")
    return Rate(int(found[1]), PERIODS_S[found[2]])


class Buckets:
    """One bucket per caller."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._each_s = rate.period_s / rate.amount
        self._full_at: dict[str, float] = {}

    def take(self, caller: str) -> Reading:
        """Take one from the caller's bucket, if it holds one."""
        now = self._clock()
        owed = max(self._full_at.get(caller, 0.0) - now, 0.0)
        # A hair of slack, so that rounding never costs the last one of an amount.
        over = owed + self._each_s - self.rate.period_s * (1 + 1e-9)
        if over > 0:
            return Reading(False, 0, owed, over)
        owed += self._each_s
        if caller not in self._full_at and len(self._full_at) >= KEPT:
            self._forget_full(now)
        self._full_at[caller] = now + owed
        remaining = int((self.rate.period_s - owed) / self._each_s + 1e-6)
        return Reading(True, remaining, owed, 0.0)

    def _forget_full(self, now: float) -> None:
        self._full_at = {caller: at for caller, at in self._full_at.items() if at > now}
        if len(self._full_at) >= KEPT:  # all in use: the longest known gives way
            del self._full_at[next(iter(self._full_at))]
