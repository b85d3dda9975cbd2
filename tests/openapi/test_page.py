"""The page is the document, whole, and asks for nothing from anywhere."""

import re
from html.parser import HTMLParser

import aiohttp
import pytest

from trainbox.http import HttpConfig, build_app, listening
from trainbox.http.openapi import offline_document
from trainbox.http.openapi.page import bounds, page, words
from trainbox_plugins.native.routes import NativeSurface
from trainbox_sdk.testing.fake_engine import FakeEngine


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def document():
    return offline_document([NativeSurface()])


@pytest.fixture(scope="module")
def elements(document):
    return Elements(page(document)).seen


@pytest.fixture
async def http():
    engine = FakeEngine()
    app = build_app(engine, [NativeSurface()], HttpConfig())
    async with listening(app, "127.0.0.1", 0, HttpConfig(linger_s=0.2)) as url:
        async with aiohttp.ClientSession(url) as session:
            yield session
    engine.close()


def test_every_operation_and_schema_has_its_place(document, elements):
    ids = {attributes["id"] for _, attributes in elements if "id" in attributes}
    for item in document["paths"].values():
        assert {one["operationId"] for one in item.values()} <= ids
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= ids
    assert len(ids) == sum("id" in attributes for _, attributes in elements), "an id twice"


def test_every_link_leads_somewhere(elements):
    ids = {attributes.get("id") for _, attributes in elements}
    for tag, attributes in elements:
        if tag == "a" and attributes["href"].startswith("#"):
            assert attributes["href"][1:] in ids


def test_it_needs_no_script_no_style_of_its_own_and_no_one_else(elements):
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "style", "img", "iframe", "form", "object"}
    for tag, attributes in elements:
        assert not any(name == "style" or name.startswith("on") for name in attributes)
        for name in ("href", "src"):
            assert re.match(r"[#/]", attributes.get(name, "#")), f"{tag} {attributes}"


async def test_it_is_served_under_a_policy_that_lets_nothing_in(http):
    reply = await http.get("/docs")
    assert reply.status == 200 and reply.content_type == "text/html"
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    style = await http.get("/docs/style.css")
    assert style.content_type == "text/css" and len(await style.read()) > 1000


async def test_the_document_is_served_and_known_again(http, document):
    reply = await http.get("/openapi.json")
    served = await reply.json()
    served["paths"].setdefault("/metrics", document["paths"]["/metrics"])
    assert set(served["paths"]) == set(document["paths"])
    again = await http.get("/openapi.json", headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


def test_prose_is_escaped_before_its_code_is_marked():
    assert words("``a<b`` & <i>") == "<code>a&lt;b</code> &amp; &lt;i&gt;"


def test_bounds_in_words():
    schema = {"minimum": 1, "maximum": 9, "default": 3, "minLength": 1}
    assert bounds(schema) == ["≥ 1", "≤ 9", "default 3"]
    assert bounds({"default": None}) == []
