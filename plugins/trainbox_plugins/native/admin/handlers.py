"""What an operator does to the daemon itself: ``/v1/admin``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from trainbox_plugins.native.admin import translate, wire
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import Endpoint, KnownHandler, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.calls.daemon import DrainState
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Operation

DRAIN = (
    "Submissions answer 503 with the code `draining`, what waits goes on waiting, what runs runs "
    "on; everything else is answered as ever. Lasts until undone, or until the daemon restarts. "
    "A second call changes nothing."
)


class Admin:
    """Handlers of the switch that empties a daemon."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of operators."""
        path = "/v1/admin/drain"
        return [
            Endpoint(
                "GET",
                path,
                self.drain_state,
                _operation("getDrain", "Say whether new work is taken, and how much is there"),
            ),
            Endpoint(
                "POST",
                path,
                self.drain,
                _operation("drain", "Take no new job and start none that wait", DRAIN),
            ),
            Endpoint(
                "POST",
                "/v1/admin/undrain",
                self.undrain,
                _operation("undrain", "Take and start work again"),
            ),
        ]

    @property
    def drain_state(self) -> KnownHandler:
        """``GET /v1/admin/drain``."""
        return _asking(self._engine.drain_state)

    @property
    def drain(self) -> KnownHandler:
        """``POST /v1/admin/drain``."""
        return _asking(self._engine.drain)

    @property
    def undrain(self) -> KnownHandler:
        """``POST /v1/admin/undrain``."""
        return _asking(self._engine.undrain)


def _asking(call: Callable[[Principal], Awaitable[DrainState]]) -> KnownHandler:
    async def handle(request: web.Request, who: Principal) -> web.StreamResponse:
        query(request, NoQuery)
        return json_reply(translate.drain(await call(who)))

    return handle


def _operation(name: str, summary: str, description: str = "") -> Operation:
    return Operation(
        name,
        "admin",
        summary,
        gives(wire.DrainOut),
        scope="admin",
        query=NoQuery,
        description=description,
    )
