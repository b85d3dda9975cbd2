"""What the HTTP layer may be told; plain values from the composition root."""

from __future__ import annotations

from dataclasses import dataclass

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
        metrics_public: whether ``/metrics`` answers callers of other machines without a token.
    """

    allowed_hosts: frozenset[str] = frozenset()
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 60.0
    linger_s: float = 5.0
    stop_grace_s: float = 5.0
    retry_after_s: int = 5
    max_header_bytes: int = 8190
    access_log: bool = True
    metrics_public: bool = False

    @property
    def hosts(self) -> frozenset[str]:
        """Every accepted host name."""
        return LOOPBACK_NAMES | {name.lower() for name in self.allowed_hosts}
