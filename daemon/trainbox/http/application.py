"""Build the one aiohttp application: mounts, one gate before every handler, health routes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from trainbox.http.config import HttpConfig
from trainbox.http.deadlines import BodyTooSlow
from trainbox.http.doorkeeper import VISIT, Doorkeeper
from trainbox.http.expectations import answer_expectation
from trainbox.http.gate import PASSAGE, Gate
from trainbox.http.mounts import MountTable
from trainbox.http.observe import Observer, observing
from trainbox.http.openapi import own_routes
from trainbox.http.ops import ops_routes
from trainbox.http.problems import problem
from trainbox.http.shadows import keep_fixed_paths
from trainbox.http.state import DRAIN, Drain
from trainbox.ids import random_hex
from trainbox_sdk.engine import Engine
from trainbox_sdk.errors import TrainboxError
from trainbox_sdk.surfaces import REQUEST_ID, Route, Surface

log = logging.getLogger("trainbox.http")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_STARTED = web.RequestKey("response_started", bool)


def build_app(
    engine: Engine,
    surfaces: Sequence[Surface],
    config: HttpConfig,
    observer: Observer | None = None,
) -> web.Application:
    """Mount the surfaces and guard them.

    Args:
        engine: what the surfaces call.
        surfaces: HTTP dialects.
        config: limits.
        observer: told of every request, and asked for ``/metrics``; None leaves both out.

    Raises:
        MountClash: two surfaces want the same URLs.
        InvalidOperation: a route's operation says what cannot be.
        ValueError: a rate or a trusted proxy that is none.
    """
    doorkeeper = Doorkeeper(engine, config.rates, config.unix_trust)
    guarded = cast("Engine", doorkeeper)
    table = MountTable(surfaces, guarded)
    limits: dict[web.AbstractRoute, Route] = {}
    gate = Gate(config, doorkeeper, limits)
    app = web.Application(
        middlewares=[
            observing(observer, access_log=config.access_log),
            _gate(table, gate),
        ]
    )
    app[DRAIN] = Drain(observer.stream_dropped if observer else None)
    _add_routes(
        app,
        own_routes(
            ops_routes(guarded, observer, metrics_public=config.metrics_public), table.mounts
        ),
        limits,
    )
    for mount in table.mounts:
        _add_routes(app, mount.routes, limits)
    keep_fixed_paths(app)

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        visit = VISIT.get()
        if visit is not None:
            doorkeeper.tell(visit, response.headers)
        _add_headers(request, response)
        if not isinstance(response, (web.Response, web.FileResponse)):
            task = asyncio.current_task()
            assert task is not None
            app[DRAIN].watch(task)
            doorkeeper.watch(task)
            gate.streams(request.get(PASSAGE))

    app.on_response_prepare.append(on_prepare)
    app.on_shutdown.append(_on_shutdown)
    return app


def _add_routes(
    app: web.Application, routes: Sequence[Route], limits: dict[web.AbstractRoute, Route]
) -> None:
    """Add routes in order; a GET answers HEAD too, unless that has a route of its own."""
    heads = {route.path for route in routes if route.method == "HEAD"}
    for route in routes:
        methods = [route.method]
        if route.method == "GET" and route.path not in heads:
            methods.append("HEAD")
        for method in methods:
            added = app.router.add_route(
                method, route.path, route.handler, expect_handler=answer_expectation
            )
            limits[added] = route


def start_draining(app: web.Application) -> None:
    """Refuse changes from now on (503 with ``Retry-After``); reads and streams go on."""
    app[DRAIN].draining = True


def _gate(table: MountTable, gate: Gate) -> Middleware:
    """Return the middleware every request passes, known path or not."""

    @web.middleware
    async def pass_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = _request_id(request)
        passage = gate.arrive(request)
        try:
            return await handler(await gate.admit(request, passage))
        except Exception as error:  # noqa: BLE001 - the last handler of every error of a request
            return _answer(error, request, table)
        finally:
            gate.leave(passage)

    return pass_gate


def _answer(error: Exception, request: web.Request, table: MountTable) -> web.StreamResponse:
    """Turn an error into its owner's body, or give the connection up where that is too late."""
    if isinstance(error, web.HTTPException) and error.status < 400:  # noqa: PLR2004 - a redirect
        raise error
    if request.transport is None or request.transport.is_closing():
        log.info("client went away", extra={"request_id": request[REQUEST_ID]})
        return web.Response(status=400)  # nobody reads it
    if _STARTED in request:
        raise error  # the client has half an answer: aiohttp logs the error and cuts the connection
    if not isinstance(error, (web.HTTPException, TrainboxError, BodyTooSlow)):
        _log_failure(error, request)
    if isinstance(error, BodyTooSlow):
        error = web.HTTPRequestTimeout(text=str(error))
    owner = table.owner(request.path)
    try:
        response = owner.error_response(error, request) if owner else problem(error, request)
    except Exception as broken:  # noqa: BLE001 - a surface must not hide the first error
        _log_failure(broken, request)
        response = problem(error, request)
    if not request.content.is_eof():
        # aiohttp closes once it is tired of the rest of the body; the client must not reuse this.
        response.force_close()
    return response


def _log_failure(error: Exception, request: web.Request) -> None:
    log.error(
        "request failed",
        exc_info=error,
        extra={
            "request_id": request.get(REQUEST_ID, ""),
            "method": request.method,
            "path": request.path,
        },
    )


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if _REQUEST_ID.fullmatch(given) else random_hex(8)


def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    request[_STARTED] = True
    headers = response.headers
    headers["X-Request-ID"] = request.get(REQUEST_ID, "")
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")


async def _on_shutdown(app: web.Application) -> None:
    start_draining(app)
    app[DRAIN].cut_streams()
