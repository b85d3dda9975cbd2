"""What the HTTP layer may be told; plain values from the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from trainbox_sdk.engine import Principal

LOOPBACK_NAMES = frozenset({"127.0.0.1", "[::1]", "localhost"})


@dataclass(frozen=True)
class HttpConfig:
    """Limits of every connection and request.

    Attributes:
        allowed_hosts: names accepted in the ``Host`` header beside the loopback ones; without
            port, lower case, IPv6 in brackets.
        body_timeout_s: seconds for a body that the middleware reads to arrive whole.
        idle_timeout_s: seconds a connection may stay open without a complete request header:
            before the first request, between two, and half-way through a header.
        linger_s: seconds a client may go on sending a body that was answered already, so that the
            answer is not lost to a reset.
        stop_grace_s: seconds running handlers get when the listener closes.
        retry_after_s: what ``Retry-After`` says while draining.
        max_header_bytes: longest request line and longest single header.
        access_log: whether each request leaves a line in the log.
        header_timeout_s: seconds for a request's whole header, from its first byte on.
        min_body_bytes_per_s: least rate of a body that we are ready to read, over
            ``body_window_s`` seconds.
        write_stall_s: seconds a reader may take nothing of an answer.
        tick_s: seconds between looks at all connections.
        max_connections: open ones in all; ``max_connections_per_peer`` of one address or user.
        max_in_flight: requests that are being answered, streams left out.
        max_body_memory_bytes: request bodies held in memory, in all.
        rates: see :class:`~trainbox.http.doorkeeper.Doorkeeper`.
        trusted_proxies: see :class:`~trainbox.http.peers.Proxies`.
        public_url: how browsers reach the daemon, such as ``https://train.lan``; empty where they
            use its own address.
        unix_trust: users of the Unix socket who need no token, by uid.
        metrics_public: whether ``/metrics`` answers callers of other machines without a token.
    """

    allowed_hosts: frozenset[str] = frozenset()
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 60.0
    linger_s: float = 5.0
    stop_grace_s: float = 5.0
    retry_after_s: int = 5
    max_header_bytes: int = 8190
    header_timeout_s: float = 15.0
    min_body_bytes_per_s: int = 1024
    body_window_s: float = 30.0
    write_stall_s: float = 60.0
    tick_s: float = 1.0
    max_connections: int = 1024
    max_connections_per_peer: int = 512
    max_in_flight: int = 512
    max_body_memory_bytes: int = 1024**3
    rates: Mapping[str, str] = field(default_factory=dict)
    trusted_proxies: tuple[str, ...] = ()
    public_url: str = ""
    unix_trust: Mapping[int, Principal] = field(default_factory=dict)
    access_log: bool = True
    metrics_public: bool = False

    @property
    def hosts(self) -> frozenset[str]:
        """Every accepted host name."""
        public = urlsplit(self.public_url).hostname
        named = {name.lower() for name in self.allowed_hosts} | ({public} if public else set())
        return LOOPBACK_NAMES | named

    @property
    def public_origin(self) -> str:
        """The origin browsers send for ``public_url`` (RFC 6454 §6.2); empty without one."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""
