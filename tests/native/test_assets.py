"""Files beside scripts: in by one streamed body, out with ranges and digests, each their owner's."""

import hashlib

import pytest

SCRIPT = b"print('hello')\n"


@pytest.fixture
def asset(api):
    async def make(data=SCRIPT, **params):
        query = {"filename": "train.py", "kind": "script", **params}
        reply = await api.http.post("/v1/assets", params=query, data=data)
        assert reply.status == 201, await reply.text()
        return await reply.json()

    return make


async def test_a_file_comes_in_and_out_as_it_was(api, asset):
    made = await asset(description="first try")
    assert made["id"].startswith("ast_")
    assert (made["filename"], made["kind"], made["bytes"]) == ("train.py", "script", len(SCRIPT))
    assert made["digest"] == f"sha256:{hashlib.sha256(SCRIPT).hexdigest()}"
    assert made["description"] == "first try"
    assert await (await api.http.get(f"/v1/assets/{made['id']}")).json() == made
    reply = await api.http.get(f"/v1/assets/{made['id']}/content")
    assert await reply.read() == SCRIPT
    assert reply.headers["ETag"] == f'"{made["digest"]}"'
    assert 'filename="train.py"' in reply.headers["Content-Disposition"]
    part = await api.http.get(f"/v1/assets/{made['id']}/content", headers={"Range": "bytes=6-"})
    assert (part.status, await part.read()) == (206, SCRIPT[6:])
    head = await api.http.head(f"/v1/assets/{made['id']}/content")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(SCRIPT)))


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "text/x-python", ""])
async def test_whatever_the_content_type_the_bytes_are_the_file(api, media_type):
    headers = {"Content-Type": media_type} if media_type else {}
    reply = await api.http.post("/v1/assets?filename=a", data=b"a=1&b=2", headers=headers)
    assert reply.status == 201
    made = await reply.json()
    assert (made["bytes"], made["kind"]) == (7, "other")
    assert reply.headers["Location"] == f"/v1/assets/{made['id']}"


async def test_a_form_is_refused_before_it_is_stored_as_it_is(api):
    reply = await api.http.post("/v1/assets?filename=a", data={"file": SCRIPT.decode()})
    assert reply.status == 201, "a form of fields alone is sent url-encoded, and is bytes"
    import aiohttp

    form = aiohttp.FormData()
    form.add_field("file", SCRIPT, filename="train.py")
    reply = await api.http.post("/v1/assets?filename=a", data=form)
    problem = await reply.json()
    assert (reply.status, problem["code"]) == (415, "unsupported_media_type")
    assert "--data-binary" in problem["hint"]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({}, ["query", "filename"]),
        ({"filename": ""}, ["query", "filename"]),
        ({"filename": "a\nb"}, ["query", "filename"]),
        ({"filename": "../a"}, ["filename"]),
        ({"filename": ".a"}, ["filename"]),
        ({"filename": "a/b"}, ["filename"]),
        ({"filename": "ä" * 200}, ["filename"]),
        ({"filename": "a", "kind": "model"}, ["query", "kind"]),
        ({"filename": "a", "group": "x"}, ["query", "group"]),
    ],
)
async def test_what_is_said_of_it_is_checked(api, query, where):
    reply = await api.http.post("/v1/assets", params=query, data=SCRIPT)
    problem = await reply.json()
    assert reply.status == 422
    assert [error["loc"] for error in problem["errors"]] == [where]
    assert not (await (await api.http.get("/v1/assets")).json())["items"]


async def test_an_empty_file_is_refused(api):
    reply = await api.http.post("/v1/assets?filename=a", data=b"")
    assert (reply.status, (await reply.json())["code"]) == (422, "empty_asset")


async def test_listing_by_kind_and_page(api, asset):
    script = await asset()
    weights = await asset(b"w", filename="w.bin", kind="weights")
    listed = await (await api.http.get("/v1/assets")).json()
    assert [each["id"] for each in listed["items"]] == [weights["id"], script["id"]]
    one = await (await api.http.get("/v1/assets", params={"kind": "script"})).json()
    assert [each["id"] for each in one["items"]] == [script["id"]]
    first = await (await api.http.get("/v1/assets", params={"limit": 1})).json()
    second = await (await api.http.get("/v1/assets", params={"after": first["next"]})).json()
    assert [each["id"] for each in second["items"]] == [script["id"]]


async def test_gone_is_gone_and_anothers_was_never_there(api, asset, stranger):
    made = await asset()
    path = f"/v1/assets/{made['id']}"
    for method, where in (("GET", path), ("GET", f"{path}/content"), ("DELETE", path)):
        reply = await api.http.request(method, where, headers=stranger)
        assert (reply.status, (await reply.json())["code"]) == (404, "asset_not_found")
    assert not (await (await api.http.get("/v1/assets", headers=stranger)).json())["items"]
    assert (await api.http.delete(path)).status == 204
    assert (await api.http.get(path)).status == 404
    assert (await api.http.delete(path)).status == 404
