"""Every route asks for exactly the scope it declares: without it 403 before anything else happens."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager

import aiohttp
import pytest

from trainbox.http import HttpConfig, build_app, listening
from trainbox_plugins.native.routes import NativeSurface
from trainbox_plugins.native.table import ANY_TOKEN
from trainbox_sdk.calls.tokens import SCOPES
from trainbox_sdk.engine import Principal
from trainbox_sdk.testing.fake_engine import FakeEngine

ENGINE = FakeEngine()
ROUTES = [route for route in NativeSurface().routes(ENGINE) if route.operation is not None]
ASKING = [route for route in ROUTES if route.operation.scope is not None]
OPEN = {"OPTIONS /v1/uploads"}
"""Routes that no token opens: tus clients ask what the server can before they have one."""


def token_with(scopes):
    """Return a token's text that has these scopes and no other."""
    text = f"token-{'-'.join(sorted(scopes)) or 'nothing'}"
    ENGINE.principals[text] = Principal("user-1", text, frozenset(scopes))
    return text


@asynccontextmanager
async def serving():
    config = HttpConfig(linger_s=0.2)
    app = build_app(ENGINE, [NativeSurface()], config)
    async with listening(app, "127.0.0.1", 0, config) as url, aiohttp.ClientSession(url) as http:
        yield http


def said(route):
    return f"{route.method} {route.path}"


async def ask(http, route, token, **headers):
    path = re.sub(r"\{[^{}]*\}", "nope", route.path)
    query = "?follow=false" if "events" in path or "logs" in path else ""
    body = None if route.method in {"GET", "HEAD", "OPTIONS"} else b"{}"
    given = {"Authorization": f"Bearer {token}"} if token else {}
    headers = {"Content-Type": "application/json", "Accept": "application/json", **given, **headers}
    async with http.request(route.method, path + query, headers=headers, data=body) as reply:
        return reply.status, await reply.text()


@pytest.mark.parametrize("route", ASKING, ids=said)
async def test_declared_is_enforced(route):
    scope = route.operation.scope
    assert scope in {*SCOPES, ANY_TOKEN}
    others = set(SCOPES) - {scope, "admin"}
    async with serving() as http:
        assert (await ask(http, route, None))[0] == 401
        assert (await ask(http, route, "nobody's"))[0] == 401
        without = await ask(http, route, token_with(others))
        alone = await ask(http, route, token_with({scope} - {ANY_TOKEN}))
        admin = await ask(http, route, token_with({"admin"}))
    if scope != ANY_TOKEN:
        assert without[0] == 403
        assert route.method == "HEAD" or f"lacks the scope '{scope}'" in without[1]
    assert alone[0] not in {401, 403}, alone
    assert admin[0] not in {401, 403}, "admin includes the others"


def test_every_route_asks_for_a_token():
    assert {said(route) for route in ROUTES if route.operation.scope is None} <= OPEN


def test_reads_ask_for_read_and_changes_do_not():
    """Who may only look changes nothing; a prediction is neither."""
    for route in ASKING:
        scope = route.operation.scope
        if route.method in {"GET", "HEAD"}:
            fine = {"read", "admin", ANY_TOKEN}
            assert scope in fine or route.path.startswith(OF_CHANGES), said(route)
        else:
            assert scope in {"submit", "predict", "admin"} or said(route) in LOOKING, said(route)


OF_CHANGES = "/v1/uploads"
"""Reads that only who changes has a use for: how far an upload is."""
LOOKING = {"POST /v1/jobs/compare", "OPTIONS /v1/uploads", "OPTIONS /v1/uploads/{id}"}
"""Reads that need a body, or no more than what a server can do."""


async def test_the_refusal_names_the_scope_and_what_there_is():
    async with serving() as http:
        reply = await http.post(
            "/v1/jobs", json={}, headers={"Authorization": f"Bearer {token_with({'read'})}"}
        )
        problem = await reply.json(content_type="application/problem+json")
    assert (reply.status, problem["code"]) == (403, "missing_scope")
    assert "'submit'" in problem["detail"]
    assert "read" in problem["hint"]
