"""Time as a value: one place that looks at the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)
