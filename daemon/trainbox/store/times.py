"""Times as integer UTC microseconds, the one form the database holds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import overload

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def now_micros() -> int:
    """Return the wall clock's microseconds since the epoch; never used for order."""
    return time.time_ns() // 1000


@overload
def micros(at: datetime) -> int: ...
@overload
def micros(at: None) -> None: ...
def micros(at: datetime | None) -> int | None:
    """Return an aware time as microseconds since the epoch, exactly.

    Raises:
        ValueError: the time is naive.
    """
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError(f"a time without a zone: {at!r}")
    return (at - EPOCH) // MICROSECOND


@overload
def moment(at: int) -> datetime: ...
@overload
def moment(at: None) -> None: ...
def moment(at: int | None) -> datetime | None:
    """Return the UTC time of :func:`micros`, exactly."""
    return None if at is None else EPOCH + timedelta(microseconds=at)
