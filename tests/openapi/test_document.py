"""The OpenAPI document: whole, valid, and without a word that no route stands behind."""

import re
from pathlib import Path

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel, Field

from trainbox.http import HttpConfig, build_app
from trainbox.http.openapi import InvalidOperation, offline_document
from trainbox.http.openapi.own import OPERATIONS
from trainbox.plugins import load_plugins, read_manifest
from trainbox.registry import build_registry
from trainbox_plugins.native.routes import NativeSurface
from trainbox_sdk.operations import Content, Header, Operation, Reply, SecurityScheme
from trainbox_sdk.surfaces import Route, Surface
from trainbox_sdk.testing.fake_engine import FakeEngine

ROOT = Path(__file__).parents[2]
METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}


@pytest.fixture(scope="module")
def surfaces():
    """Every surface that the bundled list loads."""
    return list(
        build_registry(load_plugins(read_manifest(ROOT / "plugins.toml"))).surfaces.values()
    )


@pytest.fixture(scope="module")
def document(surfaces):
    return offline_document(surfaces)


def operations(document):
    return [
        (method, path, one)
        for path, item in document["paths"].items()
        for method, one in item.items()
        if method in METHODS
    ]


def test_it_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_every_route_says_what_it_takes_and_gives(surfaces):
    engine = FakeEngine()
    mute = [
        f"{route.method} {route.path}"
        for surface in surfaces
        for route in surface.routes(engine)
        if route.operation is None
    ]
    engine.close()
    assert not mute, "give these an Operation beside their handler"


def test_every_served_route_is_in_it(document, surfaces):
    engine = FakeEngine()
    app = build_app(engine, surfaces, HttpConfig())
    served = {
        (route.method.lower(), re.sub(r"\{([^{}:]+):[^{}]*\}", r"{\1}", route.resource.canonical))
        for route in app.router.routes()
        if route.handler.__name__ != "refuse"  # of a fixed path that a variable one shadows
    }
    engine.close()
    listed = {(method, path) for method, path, _ in operations(document)}
    heads = {("head", path) for method, path in listed if method == "get"}
    assert served <= listed | heads
    # Metrics are mounted with the daemon's own recorder.
    assert listed - served <= {("get", "/metrics")}


def test_what_the_daemon_itself_answers_is_in_it(document):
    assert {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"} <= set(document["paths"])
    assert set(OPERATIONS) <= set(document["paths"])


def test_scopes_ask_for_the_surfaces_token(document):
    for method, path, one in operations(document):
        assert ("security" in one) == ("x-scope" in one), f"{method} {path}"
        assert path.startswith(("/v1", "/v2")) or "security" not in one


def test_every_problem_has_the_shape_of_its_surface(document):
    for name, answer in document["components"]["responses"].items():
        assert answer["content"], name
        assert int(name.rpartition("-")[2]) >= 400


def test_nothing_is_defined_that_nothing_names(document):
    text = str(document)
    for kind in ("schemas", "responses"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}'" in text, name


# --- what cannot be is refused at the start


class Text(BaseModel):
    word: str = Field(max_length=3)


OK = {200: Reply("Fine.", (Content(Text),))}


def surface(*routes):
    async def handler(request):
        return web.Response()

    class Made(Surface):
        name, prefixes = "made", ("/made",)
        security = SecurityScheme("key", {"type": "apiKey", "in": "header", "name": "X-Key"})
        problem = Content(Text)

        def routes(self, engine):
            return [Route(method, path, handler, operation=one) for method, path, one in routes]

        def error_response(self, error, request):
            return web.Response(status=500)

    return Made()


@pytest.mark.parametrize(
    ("method", "operation", "said"),
    [
        ("GET", Operation("a", "t", "s", {404: Reply("Gone.")}), "success"),
        ("GET", Operation("a", "t", "s", OK, body=(Content(Text),)), "a body"),
        ("GET", Operation("a", "t", "s", OK, path={"name": int}), "path types"),
        ("GET", Operation("a", "t", "s", OK, problems=(204,)), "no error"),
        ("GET", Operation("a", "t", "s", OK, problems=(499,)), "do not exist"),
        ("GET", Operation("a", "t", "s", OK, problems=(415,)), "about a body"),
        ("POST", Operation("a", "t", "s", OK, problems=(416,)), "reading"),
    ],
)
def test_an_operation_that_contradicts_its_route(method, operation, said):
    with pytest.raises(InvalidOperation, match=said) as refused:
        offline_document([surface((method, "/made/x", operation))])
    assert f"{method} /made/x" in str(refused.value)


def test_one_id_for_two_operations():
    one = Operation("same", "t", "s", OK)
    two = surface(("GET", "/made/x", one), ("GET", "/made/y", one))
    with pytest.raises(InvalidOperation, match="'same'"):
        build_app(FakeEngine(), [two], HttpConfig())


def test_a_surface_of_its_own_words():
    whole = Operation(
        "whole",
        "t",
        "s",
        {200: Reply("Fine.", (Content(Text), Content(None, "text/csv")), {"X-Count": "How many."})},
        problems=(404,),
        scope="read",
        query=Text,
        path={"id": int},
        headers=(Header("X-Trace", "For logs."),),
        body=(Content(Text),),
        body_required=False,
    )
    document = offline_document([surface(("POST", "/made/{id:\\d+}", whole))])
    validate(document, cls=OpenAPIV31SpecValidator)
    made = document["paths"]["/made/{id}"]["post"]
    named = {one["name"]: one for one in made["parameters"]}
    assert named["id"]["schema"] == {"type": "integer"}
    assert named["word"]["required"] and named["word"]["schema"]["maxLength"] == 3
    assert named["X-Trace"]["in"] == "header"
    assert made["requestBody"]["required"] is False
    assert made["security"] == [{"key": []}]
    assert {"401", "403", "404", "408", "413", "421", "500"} <= set(made["responses"])
    assert "415" not in made["responses"], "the native surface's rules are not everyone's"
    problem = document["components"]["responses"]["made-404"]
    assert problem["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/Text"}}
    }
    assert made["responses"]["200"]["headers"]["X-Count"]["description"] == "How many."


def test_a_table_that_calls_the_engine_cannot_be_listed_offline():
    class Asking(NativeSurface):
        def routes(self, engine):
            engine.tasks()
            return super().routes(engine)

    with pytest.raises(RuntimeError, match=r"tasks\(\)"):
        offline_document([Asking()])
