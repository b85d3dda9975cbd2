"""Which version a reference means, remembered until anything in the store changes."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trainbox_sdk.engine import Principal

KEPT_S = 1.0
"""Seconds after which also a plugin's word on who may see a model is asked for again."""
SIZE = 4096


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    look: asyncio.Future[T]
    commits: int
    at: float


class Lookup(Generic[T]):
    """Finds models for requests that come a thousand times a second with the same reference.

    An answer holds while the store has not committed anything: this process is the only one that
    writes, so an alias that moved is seen by the very next request.

    Args:
        find: looks a reference up for a principal; raises NotFound.
        commits: how often the store has committed so far.
    """

    def __init__(
        self,
        find: Callable[[Principal, str], Coroutine[Any, Any, T]],
        commits: Callable[[], int],
    ) -> None:
        self._find = find
        self._commits = commits
        self._known: OrderedDict[tuple[str, frozenset[str], str], _Known[T]] = OrderedDict()

    async def model(self, who: Principal, reference: str) -> T:
        """Return what is known of the model version.

        Raises:
            NotFound: absent, or not theirs.
        """
        key = (who.id, who.scopes, reference)
        known, commits, now = self._known.get(key), self._commits(), time.monotonic()
        if known is None or known.commits != commits or now - known.at >= KEPT_S:
            # Counted before the look: what is committed meanwhile makes the answer old. Those who
            # come while it is under way share it.
            look = asyncio.ensure_future(self._find(who, reference))
            look.add_done_callback(_heard)
            known = self._known[key] = _Known(look, commits, now)
            self._known.move_to_end(key)
            if len(self._known) > SIZE:
                self._known.popitem(last=False)
        if known.look.done():
            return known.look.result()
        return await asyncio.shield(known.look)


def _heard(look: asyncio.Future[Any]) -> None:
    """Look at the outcome also if whoever asked has gone."""
    if not look.cancelled():
        look.exception()
