"""One POST to one receiver: no redirects, no cookies, no proxies, and no address that is closed."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from trainbox.engine.receivers import Receivers

TIMEOUT_S = 15.0
"""For the whole exchange; Standard Webhooks recommends 15 to 30 s."""
LONGEST_ERROR = 300


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status; None where none came.
        error: why it is no success; empty for a 2xx.
        retry_after_s: what the receiver asked for, in seconds; 0 where it did not.
    """

    status: int | None
    error: str
    retry_after_s: float = 0.0


class _Closed(OSError):
    """The address is not one that webhooks may go to."""


class Sender:
    """Sends; keeps no connection, since a receiver hears of few things a minute."""

    def __init__(self, receivers: Receivers, timeout_s: float = TIMEOUT_S) -> None:
        self._receivers = receivers
        self._timeout = ClientTimeout(total=timeout_s)

    async def send(self, url: str, headers: Mapping[str, str], body: str) -> Answer:
        """Send one message; every failure is an answer. Of the reply only its head is read."""
        problem = self._receivers.url_problem(url)
        if problem is not None:
            return Answer(None, problem.msg)  # the administrator's list has changed since
        connector = TCPConnector(force_close=True, socket_factory=self._factory(url))
        try:
            async with (
                ClientSession(
                    connector=connector,
                    cookie_jar=DummyCookieJar(),
                    timeout=self._timeout,
                    auto_decompress=False,
                ) as session,
                session.post(
                    url, data=body.encode(), headers=headers, allow_redirects=False
                ) as reply,
            ):
                return _judged(reply.status, reply.headers.get("Retry-After", ""))
        except TimeoutError:
            return Answer(None, f"no answer within {self._timeout.total:g} s")
        except (ClientError, OSError, ValueError) as error:
            return Answer(None, _words(error))

    def _factory(self, url: str) -> Any:
        listed = self._receivers.listed(url)

        def make(info: tuple[Any, ...]) -> socket.socket:
            # The one place that sees where a connection really goes, literal addresses included.
            family, kind, protocol, _, (host, port, *_) = info
            address = ipaddress.ip_address(str(host).partition("%")[0])
            why = self._receivers.address_problem(address, port, listed=listed)
            if why:
                raise _Closed(errno.EACCES, why)
            return socket.socket(family, kind, protocol)

        return make


def _judged(status: int, retry_after: str) -> Answer:
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP
        return Answer(status, "")
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP
        return Answer(status, f"the receiver answered {status}; redirects are not followed")
    wait = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return Answer(status, f"the receiver answered {status}", wait)


def _words(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, _Closed):
        return str(cause.strerror)
    return (str(error) or type(error).__name__)[:LONGEST_ERROR]
