"""Listen on an address, and close in order."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from trainbox.http.config import HttpConfig
from trainbox_sdk.errors import Unavailable


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    config: HttpConfig,
    handed: Sequence[socket.socket] = (),
) -> AsyncIterator[str]:
    """Serve the application while the context is open; yields its base URL.

    On leaving: no new connections, changes answer 503, streams are cut, running handlers get
    ``stop_grace_s``.

    Args:
        app: from :func:`~trainbox.http.application.build_app`.
        host: address or name to bind.
        port: TCP port; 0 picks a free one.
        config: limits.
        handed: sockets that a service manager listens on already; with any, ``host`` and ``port``
            are not used.

    Raises:
        Unavailable: the address is taken or not ours to take.
    """
    runner = web.AppRunner(
        app,
        keepalive_timeout=config.idle_timeout_s,
        lingering_time=config.linger_s,
        shutdown_timeout=config.stop_grace_s,
        max_line_size=config.max_header_bytes,
        max_field_size=config.max_header_bytes,
        access_log=None,
    )
    await runner.setup()
    try:
        try:
            for sock in handed:
                await web.SockSite(runner, sock).start()
            if not handed:
                await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise _cannot_listen(error, host, port) from error
        yield _url(runner.addresses[0])
    finally:
        await runner.cleanup()


def _url(address: tuple[str, int] | tuple[str, int, int, int] | str) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address[0], address[1]
    return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"


def _cannot_listen(error: OSError, host: str, port: int) -> Unavailable:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"port {port} on {host} is in use",
            code="address_in_use",
            hint="Stop the other process, or choose another port with --port or TRAINBOX_PORT.",
        )
    return Unavailable(
        f"cannot listen on {host} port {port}: {error.strerror or error}",
        code="cannot_listen",
        hint="Choose another address with --host or another port with --port.",
    )
