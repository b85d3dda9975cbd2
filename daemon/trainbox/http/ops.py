"""Liveness and readiness: an operator must see a daemon whose surfaces all failed."""

from __future__ import annotations

import asyncio

from aiohttp import web

from trainbox.http.state import DRAIN
from trainbox_sdk.engine import Check, Engine, Readiness
from trainbox_sdk.errors import TrainboxError

READINESS_TIMEOUT_S = 10.0


def ops_routes(engine: Engine) -> list[web.RouteDef]:
    """Return ``/livez``, its alias ``/healthz``, and ``/readyz``; none asks for a token."""

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(request: web.Request) -> web.Response:
        readiness = await _look(engine)
        if request.app[DRAIN].draining:
            stopping = Check("accepting", ok=False, detail="the daemon is stopping")
            readiness = Readiness(ready=False, checks=(*readiness.checks, stopping))
        document = {
            "status": "ready" if readiness.ready else "not ready",
            "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in readiness.checks],
        }
        return web.json_response(document, status=200 if readiness.ready else 503)

    return [
        web.get("/healthz", live, allow_head=True),
        web.get("/livez", live, allow_head=True),
        web.get("/readyz", ready, allow_head=True),
    ]


async def _look(engine: Engine) -> Readiness:
    try:
        async with asyncio.timeout(READINESS_TIMEOUT_S):
            return await engine.readiness()
    except TimeoutError:
        why = f"no answer within {READINESS_TIMEOUT_S:g} s"
    except TrainboxError as error:
        why = error.message
    return Readiness(ready=False, checks=(Check("engine", ok=False, detail=why),))
