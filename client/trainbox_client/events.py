"""Event streams that go on through restarts of the daemon, no event twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from trainbox_client.documents import quoted
from trainbox_client.errors import Unreachable, WaitTimeout
from trainbox_client.transport import (
    ANSWER_S,
    CONNECT_S,
    NEXT_STREAM_S,
    Request,
    Steps,
    Transport,
    lost_connections,
    raise_refusal,
)

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


class JobEvents:
    """What happens to one job, as it happens; ends with the job."""

    def __init__(self, transport: Transport, job_id: str, position: Position) -> None:
        self._transport = transport
        self._job_id = job_id
        self._position = position

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        position = self._position
        while True:
            try:
                yield from self._once()
                if self._transport.run(self._ended()):
                    return
            except Unreachable as error:
                self._be_patient(error)
            self._be_patient(None)
            time.sleep(PAUSE_S if position.lost_at else 0.05)

    async def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]:
        while True:
            try:
                async for event in self._once_async():
                    yield event
                if await self._transport.run_async(self._ended()):
                    return
            except Unreachable as error:
                self._be_patient(error)
            self._be_patient(None)
            await asyncio.sleep(PAUSE_S if self._position.lost_at else 0.05)

    def _once(self) -> Iterator[Mapping[str, Any]]:
        with (
            lost_connections(self._transport.daemon.url),
            self._transport.blocking.stream("GET", self._path, **self._options()) as response,
        ):
            if response.is_error:
                response.read()
            raise_refusal(response)
            if response.status_code != httpx2.codes.NO_CONTENT:
                for event in httpx2.EventSource(response):
                    if (fact := self._position.take(event)) is not None:
                        yield fact
                    self._be_patient(None)

    async def _once_async(self) -> AsyncIterator[Mapping[str, Any]]:
        with lost_connections(self._transport.daemon.url):
            async with self._transport.awaiting.stream(
                "GET", self._path, **self._options()
            ) as response:
                if response.is_error:
                    await response.aread()
                raise_refusal(response)
                if response.status_code != httpx2.codes.NO_CONTENT:
                    async for event in httpx2.EventSource(response):
                        if (fact := self._position.take(event)) is not None:
                            yield fact
                        self._be_patient(None)

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{quoted(self._job_id)}/events"

    def _options(self) -> dict[str, Any]:
        return {"headers": self._position.headers(), "timeout": self._position.timeout()}

    def _ended(self) -> Steps[bool]:
        response = yield Request("GET", f"/v1/jobs/{quoted(self._job_id)}")
        return response.json()["state"] in FINAL

    def _be_patient(self, error: Unreachable | None) -> None:
        if self._position.late:
            raise WaitTimeout(f"job {self._job_id} has not ended in the time given; it goes on")
        if error is not None:
            self._position.lost(error)
