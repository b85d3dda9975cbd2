"""What every request passes before its handler: who it is from, may it come in, is there room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web

from trainbox import logs
from trainbox.http import bodies, guards
from trainbox.http.config import HttpConfig
from trainbox.http.deadlines import Connection, connection_of
from trainbox.http.doorkeeper import VISIT, Doorkeeper, Visit, work_of
from trainbox.http.peers import Peer, Proxies, Seen
from trainbox.http.state import DRAIN
from trainbox.origin import ORIGIN, Origin
from trainbox_sdk.errors import Unavailable
from trainbox_sdk.surfaces import REQUEST_ID, Route


@dataclass
class Passage:
    """One request on its way through.

    Attributes:
        held: bytes of memory set aside for its body.
        counted: whether it is among those in flight.
    """

    seen: Seen
    peer: Peer
    route: Route | None
    connection: Connection | None
    held: int = 0
    counted: bool = False


PASSAGE = web.RequestKey("passage", Passage)


class Gate:
    """Admits requests, and counts those that are inside.

    Args:
        config: limits.
        doorkeeper: who is told of each visit.
        routes: by aiohttp's own.
    """

    def __init__(
        self,
        config: HttpConfig,
        doorkeeper: Doorkeeper,
        routes: Mapping[web.AbstractRoute, Route],
    ) -> None:
        self._config = config
        self._doorkeeper = doorkeeper
        self._routes = routes
        self._proxies = Proxies(config.trusted_proxies)
        self._hosts = config.hosts
        self._public = config.public_origin
        self._in_flight = 0
        self._held = 0

    def arrive(self, request: web.Request) -> Passage:
        """Say where the request comes from, for all that follows."""
        connection = connection_of(request)
        if connection is not None:
            connection.begin(request)
            peer = connection.peer
        else:
            peer = self._proxies.peer(request.transport) if request.transport else Peer("")
        seen = self._proxies.seen(request, peer)
        route = self._routes.get(request.match_info.route)
        request_id = request[REQUEST_ID]
        logs.bind(request_id=request_id)
        ORIGIN.set(Origin(request_id, seen.caller))
        VISIT.set(Visit(seen.caller, work_of(route, request.method)))
        passage = request[PASSAGE] = Passage(seen, peer, route, connection)
        return passage

    async def admit(self, request: web.Request, passage: Passage) -> web.Request:
        """Check the header and read the body; return the request to hand on.

        Raises:
            web.HTTPException: refused, with why.
            Unavailable: no room now.
        """
        config, seen = self._config, passage.seen
        guards.check_host(seen.host, self._hosts)
        if hdrs.ORIGIN in request.headers or "Sec-Fetch-Site" in request.headers:
            own = {f"{seen.scheme}://{seen.host}", self._public}
            guards.check_site(request, frozenset(own))
        guards.check_drain(
            request, draining=request.app[DRAIN].draining, retry_after_s=config.retry_after_s
        )
        request = self._vouch(request, passage.peer)
        route = passage.route
        if route is None or (route.operation is not None and route.operation.scope is None):
            return await self._read(request, passage)  # asked by machines that must get an answer
        if self._in_flight >= config.max_in_flight:
            raise _no_room(f"the daemon is answering {self._in_flight} requests")
        self._in_flight += 1
        passage.counted = True
        return await self._read(request, passage)

    def streams(self, passage: Passage | None) -> None:
        """Take a request that has begun to stream out of those in flight."""
        if passage is not None and passage.counted:
            passage.counted = False
            self._in_flight -= 1

    def leave(self, passage: Passage) -> None:
        """Count the request out."""
        self.streams(passage)
        self._held -= passage.held
        if passage.connection is not None:
            passage.connection.end()

    def _vouch(self, request: web.Request, peer: Peer) -> web.Request:
        voucher = self._doorkeeper.voucher(peer.uid)
        if not voucher or hdrs.AUTHORIZATION in request.headers:
            return request
        headers = request.headers.copy()
        headers[hdrs.AUTHORIZATION] = f"Bearer {voucher}"
        return request.clone(headers=headers)

    async def _read(self, request: web.Request, passage: Passage) -> web.Request:
        limit = passage.route.max_body_bytes if passage.route is not None else None
        if limit is None or not request.can_read_body:
            return request
        config = self._config
        held = min(request.content_length or limit, limit)
        if self._held + held > config.max_body_memory_bytes:
            raise _no_room("too many request bodies are in memory")
        self._held += held
        passage.held = held
        return await bodies.read_capped(request, limit, config.body_timeout_s)


def _no_room(why: str) -> Unavailable:
    return Unavailable(
        f"{why}; that is as many as it takes", code="overloaded", hint="try again soon"
    )
