"""Listen on an address, and close in order."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

from trainbox.http import unix_socket
from trainbox.http.config import HttpConfig
from trainbox.http.deadlines import Connection, Connections
from trainbox.http.malformed import Runner
from trainbox.http.peers import Proxies
from trainbox.http.state import DRAIN
from trainbox.http.unix_socket import UnixSocket
from trainbox_sdk.errors import Unavailable

BACKLOG = 1024
"""Connections the kernel holds until they are accepted."""


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    config: HttpConfig,
    handed: Sequence[socket.socket] = (),
    *,
    unix: UnixSocket | None = None,
) -> AsyncIterator[str]:
    """Serve the application while the context is open; yields its base URL.

    On leaving: no new connections, changes answer 503, streams are cut, running handlers get
    ``stop_grace_s``.

    Args:
        app: from :func:`~trainbox.http.application.build_app`.
        host: address or name to bind; empty for no TCP.
        port: TCP port; 0 picks a free one.
        config: limits.
        handed: sockets that a service manager listens on already; with any, ``host``, ``port`` and
            ``unix`` are not used.
        unix: a Unix socket to listen on beside TCP.

    Raises:
        Unavailable: the address is taken or not ours to take, or there is none at all.
    """
    runner = Runner(
        app,
        keepalive_timeout=config.idle_timeout_s,
        lingering_time=config.linger_s,
        shutdown_timeout=config.stop_grace_s,
        max_line_size=config.max_header_bytes,
        max_field_size=config.max_header_bytes,
        access_log=None,
    )
    await runner.setup()
    connections = Connections(config, Proxies(config.trusted_proxies), app[DRAIN].told)
    watching = asyncio.create_task(connections.watch(), name="connections")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_stop, watching)
        stack.push_async_callback(runner.cleanup)
        listen = _Listen(runner, connections, stack)
        for sock in handed:
            await listen.on(sock)
        if not handed and host:
            await listen.on_tcp(host, port)
        if not handed and unix is not None:
            await listen.on_unix(unix)
        if not listen.addresses:
            raise Unavailable(
                "there is nothing to listen on",
                code="cannot_listen",
                hint="Set TRAINBOX_HOST, or TRAINBOX_UNIX_SOCKET, or both.",
            )
        yield _url(listen.addresses[0])


class _Listen:
    """Opens servers that put every connection behind our limits; the stack closes them."""

    def __init__(
        self, runner: web.AppRunner, connections: Connections, stack: AsyncExitStack
    ) -> None:
        self._runner = runner
        self._connections = connections
        self._stack = stack
        self.addresses: list[Any] = []

    async def on(self, sock: socket.socket) -> None:
        """Serve on a socket."""
        loop = asyncio.get_running_loop()
        self._keep(await loop.create_server(self._connection, sock=sock, backlog=BACKLOG))

    async def on_tcp(self, host: str, port: int) -> None:
        """Serve on an address."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._connection, host, port, backlog=BACKLOG)
        except OSError as error:
            raise _cannot_listen(error, host, port) from error
        self._keep(server)

    async def on_unix(self, wanted: UnixSocket) -> None:
        """Serve on a Unix socket, and remove its name in the end."""
        sock = await asyncio.to_thread(unix_socket.bind, wanted)
        inode = wanted.path.stat().st_ino
        self._stack.callback(unix_socket.unlink, wanted.path, inode)
        await self.on(sock)
        self.addresses[-1] = str(wanted.path)

    def _keep(self, server: asyncio.Server) -> None:
        self._stack.callback(server.close)
        self.addresses += [sock.getsockname() for sock in server.sockets]

    def _connection(self) -> Connection:
        inner = self._runner.server
        assert inner is not None  # set up before
        return Connection(inner(), self._connections)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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
