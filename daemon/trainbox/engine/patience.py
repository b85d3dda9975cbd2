"""Waiting out what is only away: an engine that restarts, a disk that is full for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from trainbox_sdk.errors import Unavailable

T = TypeVar("T")

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0

Notice = Callable[[Unavailable], Awaitable[None]]


async def patiently(call: Callable[[], Awaitable[T]], notice: Notice) -> T:
    """Call until the answer is not :class:`~trainbox_sdk.errors.Unavailable`.

    For work that must not be given up because a look failed: unknown is not lost.

    Args:
        call: makes a fresh awaitable each time.
        notice: told of every failure, to tell people.
    """
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except Unavailable as error:
            await notice(error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)
