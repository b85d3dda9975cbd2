"""Event streams that go on through restarts of the daemon, no event twice."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from trainbox_client.errors import Unreachable
from trainbox_client.transport import ANSWER_S, CONNECT_S, NEXT_STREAM_S

FINAL = frozenset({"succeeded", "failed", "cancelled", "interrupted"})
RECONNECT_FOR_S = 120.0
"""How long a lost stream is tried again before the daemon counts as unreachable."""
PAUSE_S = 1.0


@dataclass
class Position:
    """Where a reader of a stream stands.

    Attributes:
        after: sequence number of the last event it has.
        deadline: monotonic time at which it gives up, or None.
    """

    after: int = 0
    deadline: float | None = None
    lost_at: float | None = field(default=None, init=False)

    def headers(self) -> dict[str, str]:
        """Return what a stream is asked with."""
        return {"Accept": "text/event-stream", "Last-Event-ID": str(self.after)}

    def timeout(self) -> httpx2.Timeout:
        """Return how long silence is borne."""
        read = NEXT_STREAM_S
        if self.deadline is not None:
            read = max(min(read, self.deadline - time.monotonic()), 0.01)
        return httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=read)

    def take(self, event: httpx2.ServerSentEvent) -> Mapping[str, Any] | None:
        """Return the fact an event carries, or None for a comment or one that came before."""
        if not event.data:
            return None
        fact: dict[str, Any] = json.loads(event.data)
        if fact["seq"] <= self.after:
            return None
        self.after, self.lost_at = fact["seq"], None
        return fact

    def lost(self, error: Unreachable) -> None:
        """Note that the stream broke.

        Raises:
            Unreachable: it has been broken for too long.
        """
        now = time.monotonic()
        self.lost_at = self.lost_at or now
        if now - self.lost_at > RECONNECT_FOR_S:
            raise error

    @property
    def late(self) -> bool:
        """Whether the reader's patience has ended."""
        return self.deadline is not None and time.monotonic() >= self.deadline
