"""Who is at the other end: an address, a user of this machine, or whom a trusted proxy names.

``X-Forwarded-*`` is believed from trusted proxies alone; everyone else could write anything there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import hdrs, web

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX = "unix"
"""Word for every Unix socket among the trusted proxies."""
_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


@dataclass(frozen=True)
class Peer:
    """The other end of a connection.

    Attributes:
        name: address, or ``unix:uid=1000``.
        uid: user of a Unix socket's other end; None over TCP.
        proxy: whether it is trusted to speak for others.
    """

    name: str
    uid: int | None = None
    proxy: bool = False


@dataclass(frozen=True)
class Seen:
    """A request as its caller sent it, whoever handed it on."""

    caller: str
    scheme: str
    host: str


class Proxies:
    """The proxies that are trusted.

    Args:
        trusted: addresses or networks (``10.0.0.0/8``), or ``unix`` for every Unix socket.

    Raises:
        ValueError: none of these.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._unix = UNIX in trusted
        self._networks = tuple(
            ipaddress.ip_network(each, strict=False) for each in trusted if each != UNIX
        )

    def peer(self, transport: asyncio.BaseTransport) -> Peer:
        """Return who is at the other end of a connection."""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            _, uid, _ = _UCRED.unpack(credentials)
            return Peer(f"unix:uid={uid}", uid, self._unix)
        name = transport.get_extra_info("peername")
        address = str(name[0]).partition("%")[0] if isinstance(name, tuple) else ""
        return Peer(address, None, self.trusts(address))

    def trusts(self, address: str) -> bool:
        """Whether an address is a trusted proxy's; what is no address is not."""
        if not self._networks:
            return False
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in self._networks)

    def seen(self, request: web.BaseRequest, peer: Peer) -> Seen:
        """Return whom a request comes from and what they asked for."""
        host = request.headers.get(hdrs.HOST, "")
        if not peer.proxy:
            return Seen(peer.name, request.scheme, host)
        scheme = _last(request, hdrs.X_FORWARDED_PROTO).lower()
        return Seen(
            self._caller(request) or peer.name,
            scheme if scheme in {"http", "https"} else request.scheme,
            _last(request, hdrs.X_FORWARDED_HOST) or host,
        )

    def _caller(self, request: web.BaseRequest) -> str:
        """Return the last hop that no trusted proxy made: what stands before it is hearsay."""
        hops = [
            hop.strip()
            for line in request.headers.getall(hdrs.X_FORWARDED_FOR, [])
            for hop in line.split(",")
        ]
        for hop in reversed(hops):
            try:
                address = str(ipaddress.ip_address(hop))
            except ValueError:
                return ""
            if not self.trusts(address):
                return address
        return ""


def _last(request: web.BaseRequest, header: str) -> str:
    values = request.headers.getall(header, [])
    return values[-1].rpartition(",")[2].strip() if values else ""
