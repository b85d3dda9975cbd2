"""Which version a reference means, remembered until anything in the store changes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.engine import Principal

KEPT_S = 1.0
"""Seconds after which also a plugin's word on who may see a model is asked for again."""
SIZE = 4096


@dataclass(frozen=True, slots=True)
class _Known:
    model: ModelView
    commits: int
    at: float


class Lookup:
    """Finds models for requests that come a thousand times a second with the same reference.

    An answer holds while the store has not committed anything: this process is the only one that
    writes, so an alias that moved is seen by the very next request.

    Args:
        find: looks a reference up for a principal; raises NotFound.
        commits: how often the store has committed so far.
    """

    def __init__(
        self,
        find: Callable[[Principal, str], Awaitable[ModelView]],
        commits: Callable[[], int],
    ) -> None:
        self._find = find
        self._commits = commits
        self._known: OrderedDict[tuple[str, frozenset[str], str], _Known] = OrderedDict()

    async def model(self, who: Principal, reference: str) -> ModelView:
        """Return the model version.

        Raises:
            NotFound: absent, or not theirs.
        """
        key = (who.id, who.scopes, reference)
        known, commits, now = self._known.get(key), self._commits(), time.monotonic()
        if known is not None and known.commits == commits and now - known.at < KEPT_S:
            return known.model
        # Counted before the look: what is committed meanwhile makes the answer old.
        model = await self._find(who, reference)
        self._known[key] = _Known(model, commits, now)
        self._known.move_to_end(key)
        if len(self._known) > SIZE:
            self._known.popitem(last=False)
        return model
