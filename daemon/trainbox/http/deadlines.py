"""Every connection, watched: how many there are, and how long each may take for what.

aiohttp's protocol stays as it is; this one stands before it and passes everything on. Nothing is
armed per request: one ticker looks at all connections every second or so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from aiohttp import web

from trainbox.http.config import HttpConfig
from trainbox.http.peers import Peer, Proxies
from trainbox_sdk.problems import MEDIA_TYPE, http_problem

log = logging.getLogger("trainbox.http")

NOBODY = Peer("")
REFUSED = 503


class BodyTooSlow(TimeoutError):
    """A body came slower than the least rate; its reader sees this in place of bytes."""


class Connections:
    """The open connections of a listener.

    Args:
        config: limits.
        proxies: whose connections count for many callers.
        told: hears why an answer was cut.
    """

    def __init__(
        self, config: HttpConfig, proxies: Proxies, told: Callable[[str], None] | None = None
    ) -> None:
        self.told = told
        self.config: Final = config
        self.proxies: Final = proxies
        self.refused = 0
        self._open: set[Connection] = set()
        self._per_peer: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> str:
        """Count a connection in; return why not, or an empty text."""
        peer, config = connection.peer, self.config
        if len(self._open) >= config.max_connections:
            why = f"The daemon has its {config.max_connections} connections."
        elif not peer.proxy and self._per_peer[peer.name] >= config.max_connections_per_peer:
            why = f"{peer.name} has its {config.max_connections_per_peer} connections."
        else:
            self._open.add(connection)
            self._per_peer[peer.name] += 1
            return ""
        self.refused += 1
        return why

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        name = connection.peer.name
        self._per_peer[name] -= 1
        if not self._per_peer[name]:
            del self._per_peer[name]

    async def watch(self) -> None:
        """Look at every connection again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.config.tick_s)
            now = loop.time()
            for connection in tuple(self._open):
                connection.look(now)


class Connection(asyncio.Protocol):
    """One connection: aiohttp's protocol behind limits of time.

    Attributes:
        peer: who is at the other end.
    """

    def __init__(self, inner: asyncio.Protocol, all_: Connections) -> None:
        self.peer = NOBODY
        self._inner = inner
        self._all = all_
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._request: web.BaseRequest | None = None
        self._header_since = 0.0
        self._received = 0
        self._window_since, self._window_received = 0.0, 0
        self._stalled_since, self._unsent = 0.0, 0

    # -- what asyncio tells ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in and let aiohttp know, or refuse it."""
        assert isinstance(transport, asyncio.Transport)
        self.peer = self._all.proxies.peer(transport)
        if why := self._all.enter(self):
            _refuse(transport, why)
            return
        self._transport = transport
        _give_up_unread(transport, self._all.config.write_stall_s)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Count bytes; the first of a request start its header's time."""
        if self._transport is None:
            return
        self._received += len(data)
        if self._request is None and not self._header_since:
            self._header_since = self._loop.time()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        """Begin to wonder whether the other end reads."""
        if self._transport is not None:
            self._stalled_since = self._loop.time()
            self._unsent = self._transport.get_write_buffer_size()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It does."""
        self._stalled_since = 0.0
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        if self._transport is None:
            return
        self._transport = None
        self._all.leave(self)
        self._inner.connection_lost(exc)

    # -- what the gate tells -----------------------------------------------------------------

    def begin(self, request: web.BaseRequest) -> None:
        """Note that a request's header is there, and perhaps its body is not."""
        self._request = request
        self._header_since = 0.0
        self._window_since, self._window_received = self._loop.time(), self._received

    def end(self) -> None:
        """Note that the request is answered."""
        self._request = None

    # -- what the ticker asks ----------------------------------------------------------------

    def look(self, now: float) -> None:
        """End what takes too long."""
        config, transport = self._all.config, self._transport
        if transport is None:
            return
        if self._header_since and now - self._header_since > config.header_timeout_s:
            log.info("no whole header in time", extra={"peer": self.peer.name})
            transport.abort()
        elif self._stalled_since:
            self._look_at_writing(transport, now)
        elif self._request is not None and not self._request.content.is_eof():
            self._look_at_body(self._request, transport, now)

    def _look_at_writing(self, transport: asyncio.Transport, now: float) -> None:
        unsent = transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._stalled_since = now
        elif now - self._stalled_since > self._all.config.write_stall_s:
            log.info("an answer is not read", extra={"peer": self.peer.name, "unsent": unsent})
            if self._all.told is not None:
                self._all.told("stalled")
            transport.abort()
        self._unsent = unsent

    def _look_at_body(
        self, request: web.BaseRequest, transport: asyncio.Transport, now: float
    ) -> None:
        config, passed = self._all.config, now - self._window_since
        held_up_by_us = not transport.is_reading()
        if not held_up_by_us and passed < config.body_window_s:
            return
        came = self._received - self._window_received
        if not held_up_by_us and came < config.min_body_bytes_per_s * passed:
            least = f"{config.min_body_bytes_per_s} bytes a second"
            request.content.set_exception(BodyTooSlow(f"The body came slower than {least}."))
        self._window_since, self._window_received = now, self._received


def connection_of(request: web.BaseRequest) -> Connection | None:
    """Return a request's connection; None where another server than ours made it."""
    transport = request.transport
    protocol = transport.get_protocol() if transport is not None else None
    return protocol if isinstance(protocol, Connection) else None


def _refuse(transport: asyncio.Transport, why: str) -> None:
    document = http_problem(status=REFUSED, path="", method="", text=why)
    document["code"] = "too_many_connections"
    document["type"] = "urn:trainbox:problem:too_many_connections"
    body = json.dumps(document)
    transport.write(
        f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}".encode()
    )
    transport.close()


def _give_up_unread(transport: asyncio.Transport, seconds: float) -> None:
    """Have the kernel end a TCP connection whose reader takes nothing, also while it sends files.

    tcp(7), TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged, or a window closed.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError):  # a guard more, not a promise
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
