"""Liveness, readiness, metrics: an operator must see a daemon whose surfaces all failed."""

from __future__ import annotations

import asyncio
import ipaddress

from aiohttp import hdrs, web

from trainbox.http.observe import Observer
from trainbox.http.problems import problem
from trainbox.http.state import DRAIN
from trainbox_sdk.engine import Check, Engine, Readiness
from trainbox_sdk.errors import TrainboxError

READINESS_TIMEOUT_S = 10.0
METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"
METRICS_SCOPES = frozenset({"read", "admin"})
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


def ops_routes(
    engine: Engine, observer: Observer | None = None, *, metrics_public: bool = False
) -> list[web.RouteDef]:
    """Return ``/livez``, its alias ``/healthz``, ``/readyz``, and with an observer ``/metrics``.

    None of the health routes asks for a token, and none tells more than the daemon's own state.
    Metrics are for this machine, for tokens that may read, and with ``metrics_public`` for all.
    """

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

    async def metrics(request: web.Request) -> web.Response:
        assert observer is not None
        if not (metrics_public or _from_here(request)):
            refusal = await _refusal(engine, request)
            if refusal is not None:
                return refusal
        body = await observer.render()
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: METRICS_TYPE})

    routes = [
        web.get("/healthz", live, allow_head=True),
        web.get("/livez", live, allow_head=True),
        web.get("/readyz", ready, allow_head=True),
    ]
    return [*routes, web.get("/metrics", metrics, allow_head=True)] if observer else routes


async def _look(engine: Engine) -> Readiness:
    try:
        async with asyncio.timeout(READINESS_TIMEOUT_S):
            return await engine.readiness()
    except TimeoutError:
        why = f"no answer within {READINESS_TIMEOUT_S:g} s"
    except TrainboxError as error:
        why = error.message
    return Readiness(ready=False, checks=(Check("engine", ok=False, detail=why),))


def _from_here(request: web.Request) -> bool:
    """Whether a process of this machine asks for itself, and not a proxy for someone else."""
    if any(name in request.headers for name in FORWARDED) or request.transport is None:
        return False
    peer = request.transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return True  # a Unix socket: its mode says who may connect
    return ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback


async def _refusal(engine: Engine, request: web.Request) -> web.Response | None:
    """Return why this caller may not see metrics; None where they may."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    try:
        if scheme.lower() == "bearer" and token.strip():
            who = await engine.authenticate(token.strip())
            if who.scopes & METRICS_SCOPES:
                return None
            why = "Metrics ask for a token with the scope 'read'."
            return problem(web.HTTPForbidden(text=why), request)
    except TrainboxError:
        pass
    why = "Metrics ask for a token from callers that are not on this machine."
    response = problem(web.HTTPUnauthorized(text=why), request)
    response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="trainbox"'
    return response
