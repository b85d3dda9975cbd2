"""Which URLs a webhook may name, and which addresses it may be sent to.

Two looks, since a name says nothing of where it leads: the URL when the webhook is made, and the
address of every connection when it is about to be opened. On-prem receivers live at private
addresses, so those are fine; what is never one of them is refused (OWASP SSRF prevention, case 2).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

from trainbox_sdk.errors import FieldError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL = 2048
PORTS = {"http": 80, "https": 443}
PATTERN = re.compile(r"(https?|\*)://([A-Za-z0-9.*?_-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}|\*))?/?")
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
"""Where clouds tell a machine its secrets (AWS and most others, AWS over IPv6, Alibaba, Azure)."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in its last 32 bits."""


class Receivers:
    """Decides where webhooks may go.

    Args:
        allowed: patterns ``scheme://host:port`` of the only URLs that are taken, with ``*`` in host
            and port; none takes every URL. What is listed may also be a loopback address.

    Attributes:
        own_ports: where this daemon listens; a webhook must not drive the daemon itself.

    Raises:
        ValueError: a pattern that is none.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = tuple(_pattern(text) for text in allowed)
        self.own_ports: set[int] = set()

    def url_problem(self, url: str) -> FieldError | None:
        """Return why a URL is not taken, or None."""
        parts = _split(url)
        if isinstance(parts, str):
            return _refused(parts)
        if self._allowed and not self.listed(url):
            hint = "ask the administrator to add it to TRAINBOX_WEBHOOK_ALLOWED"
            return _refused(f"{parts.scheme}://{parts.netloc} is not an allowed receiver", hint)
        address = _literal(parts.hostname or "")
        if address is not None:
            why = self.address_problem(address, _port(parts), listed=self.listed(url))
            return _refused(why) if why else None
        if _is_localhost(parts.hostname or "") and not self.listed(url):
            return _refused(LOOPBACK)
        return None

    def listed(self, url: str) -> bool:
        """Return whether a pattern of the administrator's names this URL."""
        parts = _split(url)
        if isinstance(parts, str):
            return False
        host, port = (parts.hostname or "").lower(), str(_port(parts))
        return any(
            scheme in {"*", parts.scheme}
            and fnmatchcase(host, pattern)
            and (at == "*" or port == (at or str(PORTS[parts.scheme])))
            for scheme, pattern, at in self._allowed
        )

    def address_problem(self, address: Address, port: int, *, listed: bool) -> str:
        """Return why an address is not connected to; empty where it is.

        Args:
            address: as the connection would use it.
            port: TCP port.
            listed: an administrator's pattern names the URL that led here.
        """
        plain = _plain(address)
        if plain in METADATA or plain.is_link_local:
            return f"{address} is a link-local or metadata address, which no receiver has"
        if plain.is_unspecified or plain.is_multicast or (plain.is_reserved and plain.version == 4):  # noqa: PLR2004
            return f"{address} is not the address of a host"
        if port in self.own_ports and _is_mine(plain):
            return f"{address} port {port} is this daemon's own"
        if plain.is_loopback and not listed:
            return LOOPBACK
        return ""


LOOPBACK = (
    "loopback addresses are closed to webhooks; an administrator opens one with"
    " TRAINBOX_WEBHOOK_ALLOWED"
)


def _pattern(text: str) -> tuple[str, str, str]:
    found = PATTERN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a pattern such as https://*.example.lan:8443")
    return found[1].lower(), found[2].lower().strip("[]"), found[3] or ""


def _split(url: str) -> SplitResult | str:
    """Return the parts of a URL, or what is wrong with it."""
    if len(url) > MAX_URL or not (url.isascii() and url.isprintable()) or " " in url:
        return f"must be at most {MAX_URL} printable ASCII characters without blanks"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in PORTS or not parts.hostname:
        return "must be an http:// or https:// URL with a host"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or a password"
    if parts.fragment:
        return "must not have a fragment"
    return "has port 0" if port == 0 else parts


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS[parts.scheme]


def _literal(host: str) -> Address | None:
    """Return the address that a host already is, in any form that the C library takes."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.ip_address(socket.inet_aton(host))  # 2130706433, 0x7f.1, 127.1
    except OSError:
        return None


def _is_localhost(host: str) -> bool:
    return host.lower().rstrip(".").rpartition(".")[2] == "localhost"


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_mine(address: Address) -> bool:
    """Return whether this host has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _refused(why: str, hint: str = "") -> FieldError:
    return FieldError(("url",), why, hint)
