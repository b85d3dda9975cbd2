"""What every surface must do; subclass :class:`SurfaceContract` in your tests to hold yours to it.

Needs pytest and pytest-asyncio with ``asyncio_mode = auto``::

    class TestMyDialect(SurfaceContract):
        def make_surface(self):
            return MyDialect()

        def credentials(self):
            return {"X-Api-Key": TOKEN}

The surface runs on a real server on loopback, over the fake engine of this kit.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request

from trainbox_sdk import errors
from trainbox_sdk.engine import Engine
from trainbox_sdk.surfaces import REQUEST_ID, Handler, Surface
from trainbox_sdk.testing.fake_engine import TOKEN, FakeEngine

CANARY = "canary-7f3a: an inside that no answer may show"

CLIENT_ERRORS = (
    errors.ValidationFailed,
    errors.NotFound,
    errors.Conflict,
    errors.IdempotencyClash,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.TooLarge,
    errors.BackendRejected,
)
SERVER_ERRORS = (
    errors.Unavailable,
    errors.StorageFull,
    errors.BackendUnavailable,
    errors.PluginError,
)
HTTP_ERRORS = (
    web.HTTPForbidden,
    web.HTTPNotFound,
    web.HTTPRequestTimeout,
    web.HTTPMisdirectedRequest,
    web.HTTPServiceUnavailable,
)
"""What the HTTP layer refuses before a handler runs."""


class SurfaceContract:
    """One dialect's promises to the daemon. Every test is one promise."""

    def make_surface(self) -> Surface:
        """Return the surface under test; overridden."""
        raise NotImplementedError

    def credentials(self) -> Mapping[str, str]:
        """Return headers that authenticate as the fake engine's tester."""
        return {"Authorization": f"Bearer {TOKEN}"}

    def open_paths(self) -> frozenset[str]:
        """Return route paths that answer without credentials, such as a login."""
        return frozenset()

    def test_it_says_who_it_is(self) -> None:
        """It has a name, and prefixes below which all its routes lie."""
        surface = self.make_surface()
        assert re.fullmatch(r"[a-z][a-z0-9_]*", surface.name)
        assert surface.prefixes
        assert isinstance(surface.requires_tasks, tuple)
        engine: Engine = FakeEngine()
        for route in surface.routes(engine):
            under = [
                p for p in surface.prefixes if route.path == p or route.path.startswith(f"{p}/")
            ]
            assert under, f"{route.method} {route.path} lies outside {surface.prefixes}"

    def test_its_routes_are_distinct_coroutines_with_limits(self) -> None:
        """No two match the same requests, each is async, each says how much it reads."""
        seen = set()
        for route in self.make_surface().routes(FakeEngine()):
            shape = (route.method, re.sub(r"\{[^{}]*\}", "{}", route.path))
            assert shape not in seen, f"{shape} is there twice"
            seen.add(shape)
            assert inspect.iscoroutinefunction(route.handler), f"{shape} is not a coroutine"
            assert route.max_body_bytes is None or route.max_body_bytes > 0

    def test_its_table_is_the_same_each_time(self) -> None:
        """The table depends on nothing that changes, and making it asks the engine nothing."""
        engine = FakeEngine()
        tables = [
            [(route.method, route.path) for route in surface.routes(engine)]
            for surface in (self.make_surface(), self.make_surface())
        ]
        assert tables[0] == tables[1]
        assert engine.calls == []

    def test_errors_of_the_caller_are_4xx_and_of_the_daemon_5xx(self) -> None:
        """Every error of the SDK's tree has an answer of the right hundred, with its message."""
        for kinds, low, high in ((CLIENT_ERRORS, 400, 499), (SERVER_ERRORS, 500, 599)):
            for kind in kinds:
                status, text = self._answer(kind("what went wrong", hint="what to do"))
                assert low <= status <= high, f"{kind.__name__} became {status}"
                assert "what went wrong" in text, f"{kind.__name__} lost its message"

    def test_the_http_layers_refusals_keep_their_status(self) -> None:
        """404, 408, 421, 503 and 413 stay what they are, and 405 still says what is allowed."""
        for kind in HTTP_ERRORS:
            assert self._answer(kind())[0] == kind.status_code
        assert self._answer(web.HTTPRequestEntityTooLarge(1, 2))[0] == 413  # noqa: PLR2004
        refused = web.HTTPMethodNotAllowed("PUT", ["GET"])
        assert self._response(refused).headers.get("Allow") == "GET"

    def test_a_bug_shows_nothing_of_the_inside(self) -> None:
        """An exception nobody foresaw is a 500 without its text, type or traceback."""
        status, text = self._answer(RuntimeError(CANARY))
        assert status == 500  # noqa: PLR2004
        assert "canary" not in text
        assert "RuntimeError" not in text
        assert "Traceback" not in text

    async def test_every_route_wants_credentials(self) -> None:
        """Without credentials nothing but the declared open paths answers 2xx."""
        for credentials in ({}, {"Authorization": "Bearer wrong"}):
            async with self._served(FakeEngine()) as (session, routes):
                for method, path in routes:
                    if path in self.open_paths():
                        continue
                    async with session.request(method, _filled(path), headers=credentials) as reply:
                        assert reply.status >= 400, f"{method} {path} let a stranger in"  # noqa: PLR2004

    async def test_names_of_nothing_never_break_it(self) -> None:
        """Unknown, odd and hostile ids are refusals, not failures, on every route."""
        headers = {**self.credentials(), "Content-Type": "application/json"}
        async with self._served(FakeEngine()) as (session, routes):
            for method, path in routes:
                if "{" not in path:
                    continue
                for odd in ("nope", "..%2F..%2Fetc", "%00", "%F0%9F%98%80", "x" * 3000):
                    url, body = _filled(path, odd), None if method in {"GET", "HEAD"} else b"{}"
                    async with session.request(method, url, headers=headers, data=body) as reply:
                        assert 400 <= reply.status < 500, f"{method} {url[:80]}: {reply.status}"  # noqa: PLR2004

    async def test_odd_bodies_never_break_it(self) -> None:
        """Bodies that are not what a route reads are refusals, not failures."""
        bodies = (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": NaN}', b"[" * 2000)
        headers = {**self.credentials(), "Content-Type": "application/json"}
        async with self._served(FakeEngine()) as (session, routes):
            for method, path in routes:
                if method not in {"POST", "PUT", "PATCH"}:
                    continue
                for body in bodies:
                    async with session.request(
                        method, _filled(path), headers=headers, data=body
                    ) as reply:
                        assert reply.status < 500, f"{method} {path} {body[:9]!r}: {reply.status}"  # noqa: PLR2004

    def _response(self, error: Exception) -> web.Response:
        surface = self.make_surface()
        request = make_mocked_request("GET", f"{surface.prefixes[0]}/x")
        request[REQUEST_ID] = "request-1"
        return surface.error_response(error, request)

    def _answer(self, error: Exception) -> tuple[int, str]:
        response = self._response(error)
        text = response.text or ""
        if response.content_type.endswith("json"):
            text = json.dumps(json.loads(text), ensure_ascii=False)
        return response.status, text

    @asynccontextmanager
    async def _served(
        self, engine: FakeEngine
    ) -> AsyncIterator[tuple[aiohttp.ClientSession, list[tuple[str, str]]]]:
        surface = self.make_surface()
        app = web.Application(middlewares=[_errors_of(surface)])
        routes = surface.routes(engine)
        for route in routes:
            app.router.add_route(route.method, route.path, route.handler)
        async with (
            TestServer(app) as server,
            aiohttp.ClientSession(server.make_url("/")) as session,
        ):
            yield session, [(route.method, route.path) for route in routes]
        engine.close()


def _errors_of(surface: Surface) -> aiohttp.typedefs.Middleware:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = "request-1"
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - as the daemon does
            return surface.error_response(error, request)

    return answer


def _filled(path: str, word: str = "nope") -> str:
    return re.sub(r"\{[^{}]*\}", word, path)
