"""Every clash is refused at start, and the message names both sides."""

import pytest
from aiohttp import web

from trainbox.http import HttpConfig, MountClash, build_app
from trainbox.http.mounts import MountTable, lies_under
from trainbox_sdk.surfaces import Route, Surface


async def _handler(request):
    return web.Response()


def surface(name, prefixes, routes=()):
    class Made(Surface):
        def routes(self, engine):
            return [Route(method, path, _handler) for method, path in routes]

        def error_response(self, error, request):
            return web.Response(status=500)

    Made.name, Made.prefixes = name, tuple(prefixes)
    return Made()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["/v1"], ["/v1"]),
        (["/v1"], ["/v1/models"]),
        (["/v1/models"], ["/v1"]),
        (["/a", "/b"], ["/c", "/b/d"]),
    ],
)
def test_equal_and_nested_prefixes_name_both_surfaces(engine, first, second):
    with pytest.raises(MountClash, match="'ours'") as refused:
        MountTable([surface("ours", first), surface("theirs", second)], engine)
    assert "'theirs'" in str(refused.value)
    assert "plugins.toml" in str(refused.value)


@pytest.mark.parametrize(
    "prefix", ["/healthz", "/readyz", "/livez/x", "/metrics", "/openapi.json", "/docs"]
)
def test_the_health_routes_are_taken(engine, prefix):
    with pytest.raises(MountClash, match="health"):
        MountTable([surface("x", [prefix])], engine)


@pytest.mark.parametrize("prefix", ["", "/", "v1", "/v1/", "/v1//x", "/{tenant}", "/a b"])
def test_malformed_prefixes(engine, prefix):
    with pytest.raises(MountClash, match="must look like"):
        MountTable([surface("x", [prefix])], engine)


def test_no_prefix_at_all(engine):
    with pytest.raises(MountClash, match="names no prefix"):
        MountTable([surface("x", [])], engine)


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ([("GET", "/v2/x")], "outside"),
        ([("GET", "/v1x")], "outside"),
        ([("BREW", "/v1")], "method"),
        ([("get", "/v1")], "method"),
        ([("GET", "/v1/{a}"), ("GET", "/v1/{b}")], "same requests"),
        ([("GET", "/v1/x"), ("GET", "/v1/x")], "same requests"),
    ],
)
def test_wrong_routes(engine, routes, said):
    with pytest.raises(MountClash, match=said):
        MountTable([surface("x", ["/v1"], routes)], engine)


def test_a_handler_that_is_no_coroutine_function(engine):
    made = surface("x", ["/v1"])
    made.routes = lambda engine: [Route("GET", "/v1", lambda request: web.Response())]
    with pytest.raises(MountClash, match="coroutine"):
        MountTable([made], engine)


def test_siblings_share_a_listener(engine):
    one = surface("one", ["/v1"], [("GET", "/v1/x"), ("POST", "/v1/x")])
    two = surface("two", ["/v10", "/api/v1"], [("GET", "/v10/x"), ("GET", "/api/v1")])
    app = build_app(engine, [one, two], HttpConfig())
    paths = {resource.canonical for resource in app.router.resources()}
    own = {"/healthz", "/livez", "/readyz", "/openapi.json", "/docs", "/docs/style.css"}
    assert own | {"/v1/x", "/v10/x", "/api/v1"} == paths
    table = MountTable([one, two], engine)
    assert table.owner("/v1/nothing") is one
    assert table.owner("/v10") is two
    assert table.owner("/v11") is None


def test_a_prefix_ends_at_a_segment():
    assert lies_under("/v1", "/v1")
    assert lies_under("/v1/a", "/v1")
    assert not lies_under("/v1a", "/v1")
