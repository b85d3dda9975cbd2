"""What the HTTP layer remembers while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Drain:
    """Whether the daemon is stopping, and the open streams that have to end with it.

    Attributes:
        told: hears why a stream was cut.
    """

    told: Callable[[str], None] | None = None
    draining: bool = False
    streams: set[asyncio.Task[object]] = field(default_factory=set)

    def watch(self, task: asyncio.Task[object]) -> None:
        """Remember a handler that may stream for ever."""
        self.streams.add(task)
        task.add_done_callback(self.streams.discard)

    def cut_streams(self) -> None:
        """End every open stream; clients come back with ``Last-Event-ID``."""
        for task in tuple(self.streams):
            task.cancel()
            if self.told is not None:
                self.told("stopping")


DRAIN = web.AppKey("drain", Drain)
