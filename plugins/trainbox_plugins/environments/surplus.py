"""Which environments made for users' requirements are to go."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from trainbox_sdk.environments import BuiltEnvironment

KEEP = 20
"""How many environments of requirements a builder leaves of its own accord."""
UNUSED_S = 2 * 86_400.0
"""Not asked for in so long, nothing runs in it: twice the longest time limit of a step."""


def surplus(
    built: Iterable[BuiltEnvironment], *, keep: int, unused_s: float, now: datetime
) -> list[BuiltEnvironment]:
    """Return what :meth:`~trainbox_sdk.environments.EnvironmentKeeper.prune_environments` removes.

    What is not made for wishes is never among them.
    """
    made = sorted((one for one in built if one.for_wishes), key=_used, reverse=True)
    oldest = now - timedelta(seconds=unused_s)
    return [one for one in made[max(0, keep) :] if _used(one) <= oldest]


def _used(one: BuiltEnvironment) -> datetime:
    return max(one.used_at or one.created_at, one.created_at)
