"""Models: names, downloads, aliases, predictions; artifacts by digest; the catalogue."""

import base64
import hashlib

import aiohttp
import pytest
from pydantic import TypeAdapter
from yarl import URL

from trainbox_plugins.native.catalogue.wire import PluginOut, TaskOut
from trainbox_plugins.native.models.wire import AliasChangeOut, AliasOut, DirectoryOut, ModelOut
from trainbox_plugins.native.predict.wire import PredictionOut
from trainbox_plugins.native.config import Config
from trainbox_sdk.testing.fake_engine import ONNX_BYTES, TOKEN

DIGEST = "sha256:" + hashlib.sha256(ONNX_BYTES).hexdigest()


@pytest.fixture
def model(api, job):
    async def make(name="churn"):
        made = await job(name=name)
        await api.engine.finish(made["id"])
        finished = await (await api.http.get(f"/v1/jobs/{made['id']}")).json()
        return await (await api.http.get(f"/v1/models/{finished['model_id']}")).json()

    return make


async def test_every_way_to_name_a_model(api, model):
    first, second = await model(), await model()
    TypeAdapter(ModelOut).validate_python(first)
    put = await api.http.put("/v1/models/churn/aliases/champion", json={"version": 1})
    pointed = await put.json()
    TypeAdapter(AliasOut).validate_python(pointed)
    assert (put.status, pointed["alias"], pointed["version"]) == (200, "champion", 1)
    found = {}
    for ref in (first["id"], "churn", "churn:1", "churn:2", "churn@champion"):
        found[ref] = (await (await api.http.get(f"/v1/models/{ref}")).json())["id"]
    assert found == {
        first["id"]: first["id"],
        "churn": second["id"],
        "churn:1": first["id"],
        "churn:2": second["id"],
        "churn@champion": first["id"],
    }
    listing = await (await api.http.get("/v1/models?limit=1")).json()
    assert (listing["items"][0]["id"], listing["next"]) == (second["id"], "1")


@pytest.mark.parametrize("ref", ["nope", "churn:9", "churn@nobody", "%00", "..%2f..%2fetc"])
async def test_no_such_model(api, model, problem, ref):
    await model()
    for path in ("", "/onnx"):
        await problem(await api.http.get(f"/v1/models/{ref}{path}"), 404, "model_not_found")


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, "version"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"version": 10**30}, "version"),
    ],
)
async def test_wrong_alias_bodies(api, model, problem, body, loc):
    await model()
    reply = await api.http.put("/v1/models/churn/aliases/best", json=body)
    found = await problem(reply, 422, "validation_failed")
    assert found["errors"][0]["loc"] == [loc]
    reply = await api.http.put("/v1/models/churn/aliases/best", json={"version": 7})
    await problem(reply, 404, "model_not_found")


@pytest.mark.parametrize("alias", ["a%20b", "a%2Fb", "1", "%C3%BC", "x" * 65, "-x", "a@b", "a:1"])
async def test_wrong_alias_names(api, model, problem, alias):
    await model()
    reply = await api.http.put(
        URL(f"/v1/models/churn/aliases/{alias}", encoded=True), json={"version": 1}
    )
    found = await problem(reply, 422, "validation_failed")
    assert found["errors"][0]["loc"] == ["path", "alias"]


async def test_promote_roll_back_and_history(api, model):
    await model()
    await model()
    for version, reason in ((1, "first"), (2, "better")):
        body = {"version": version, "reason": reason}
        reply = await api.http.post("/v1/models/churn/promote", json=body)
        pointed = await reply.json()
        TypeAdapter(AliasOut).validate_python(pointed)
        assert (reply.status, pointed["alias"], pointed["version"]) == (200, "champion", version)
    reply = await api.http.post("/v1/models/churn/rollback", json={"reason": "worse"})
    assert (reply.status, (await reply.json())["version"]) == (200, 1)
    found = await (await api.http.get("/v1/models/churn/aliases/champion/history")).json()
    TypeAdapter(list[AliasChangeOut]).validate_python(found["items"])
    told = [(one["act"], one["from_version"], one["to_version"]) for one in found["items"]]
    assert told == [("rollback", 2, 1), ("promote", 1, 2), ("promote", None, 1)]
    listed = await (await api.http.get("/v1/models/churn/aliases")).json()
    TypeAdapter(list[AliasOut]).validate_python(listed["items"])
    reply = await api.http.delete("/v1/models/churn/aliases/champion?expected_version=1")
    assert (reply.status, await reply.read()) == (204, b"")
    assert (await (await api.http.get("/v1/models/churn/aliases")).json())["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "loc"),
    [
        ("POST", "promote", {}, ["version"]),
        ("POST", "promote", {"version": 1, "alias": "a b"}, ["alias"]),
        ("POST", "promote", {"version": 1, "reason": "x" * 1001}, ["reason"]),
        ("POST", "promote", {"version": 1, "expected_version": -1}, ["expected_version"]),
        ("POST", "promote", {"version": 1.5}, ["version"]),
        ("POST", "promote", {"version": 1, "act": "set"}, ["act"]),
        ("POST", "rollback", {"version": 1}, ["version"]),
        ("POST", "rollback", {"alias": 5}, ["alias"]),
        ("DELETE", "aliases/a?expected_version=x", None, ["query", "expected_version"]),
        ("DELETE", "aliases/a?why=x", None, ["query", "why"]),
        ("DELETE", "aliases/1", None, ["path", "alias"]),
        ("GET", "aliases/1/history", None, ["path", "alias"]),
        ("GET", "versions?limit=0", None, ["query", "limit"]),
    ],
)
async def test_wrong_moves_name_the_field(api, model, problem, method, path, body, loc):
    await model()
    reply = await api.http.request(method, f"/v1/models/churn/{path}", json=body)
    found = await problem(reply, 422, "validation_failed")
    assert [error["loc"] for error in found["errors"]] == [loc]


async def test_moves_that_cannot_be(api, model, problem):
    await model()
    post, url = api.http.post, "/v1/models/churn"
    await problem(await post(f"{url}/rollback", json={}), 404, "alias_not_found")
    await problem(await post(f"{url}/promote", json={"version": 9}), 404, "model_not_found")
    await post(f"{url}/promote", json={"version": 1})
    await problem(await post(f"{url}/rollback", json={}), 409, "no_version_before")
    body = {"version": 1, "expected_version": 7}
    await problem(await post(f"{url}/promote", json=body), 409, "alias_moved")
    gone = await api.http.delete(f"{url}:1")
    await problem(gone, 409, "model_aliased")


async def test_names_and_aliases_of_others_are_not_there(api, model, problem, stranger):
    made = await model()
    await api.http.post("/v1/models/churn/promote", json={"version": 1})
    for path in ("", "/aliases", "/versions", "/files", "/archive", "/aliases/champion/history"):
        for ref in ("churn", made["id"]):
            reply = await api.http.get(f"/v1/models/{ref}{path}", headers=stranger)
            assert reply.status == 404, (ref, path)
    body = {"version": 1, "alias": "mine"}
    reply = await api.http.post("/v1/models/churn/promote", json=body, headers=stranger)
    await problem(reply, 404, "model_not_found")


async def test_the_trash_and_back(api, model, problem):
    made = await model()
    thrown = await (await api.http.delete("/v1/models/churn:1")).json()
    TypeAdapter(ModelOut).validate_python(thrown)
    assert thrown["trashed_at"]
    await problem(await api.http.get("/v1/models/churn"), 404, "model_not_found")
    await problem(await api.http.get(f"/v1/models/{made['id']}/onnx"), 404, "model_trashed")
    listed = await (await api.http.get("/v1/models?trashed=true")).json()
    assert [one["id"] for one in listed["items"]] == [made["id"]]
    restored = await (await api.http.post(f"/v1/models/{made['id']}/restore")).json()
    assert restored["trashed_at"] is None


async def test_files_and_archive(api, model):
    made = await model()
    url = f"/v1/models/{made['id']}"
    listing = await (await api.http.get(f"{url}/files")).json()
    TypeAdapter(DirectoryOut).validate_python(listing)
    sizes = {file["path"]: file["bytes"] for file in listing["files"]}
    assert sizes["model.onnx"] == len(ONNX_BYTES)
    reply = await api.http.get(f"{url}/files/model.onnx", headers={"Range": "bytes=3-9"})
    assert (reply.status, await reply.read()) == (206, ONNX_BYTES[3:10])
    whole = await (await api.http.get(f"{url}/archive")).read()
    assert whole.startswith(b"not a tar\n") and whole.endswith(ONNX_BYTES)
    got = b""
    for start in range(0, len(whole), 1000):  # across every border between the parts
        span = {"Range": f"bytes={start}-{start + 999}"}
        reply = await api.http.get(f"{url}/archive", headers=span)
        part = await reply.read()
        assert reply.status == 206
        assert reply.headers["Content-Range"] == (
            f"bytes {start}-{start + len(part) - 1}/{len(whole)}"
        )
        got += part
    assert got == whole
    for path in ("archive", "files/model.onnx"):
        head = await api.http.head(f"{url}/{path}")
        get = await api.http.get(f"{url}/{path}")
        assert head.headers["Content-Length"] == str(len(await get.read()))
        assert head.headers["ETag"] == get.headers["ETag"]


async def test_an_archive_whose_file_went_missing_ends_early(api, model, engine):
    made = await model()
    url = f"/v1/models/{made['id']}"
    await api.http.get(f"{url}/files")
    file = await engine.model_file(engine.principals[TOKEN], made["id"])
    file.path.write_bytes(b"short")
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await api.http.get(f"{url}/archive")).read()


async def test_the_onnx_download_knows_its_digest(api, model):
    made = await model("Kündigung")
    reply = await api.http.get(f"/v1/models/{made['id']}/onnx")
    body = await reply.read()
    assert (reply.status, body) == (200, ONNX_BYTES)
    assert reply.headers["ETag"] == f'"{DIGEST}"'
    encoded = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert reply.headers["Digest"] == f"sha-256={encoded}"
    assert reply.headers["Repr-Digest"] == f"sha-256=:{encoded}:"
    assert reply.headers["Content-Disposition"] == (
        "attachment; filename=\"K_ndigung-v1.onnx\"; filename*=UTF-8''K%C3%BCndigung-v1.onnx"
    )
    head = await api.http.head(f"/v1/models/{made['id']}/onnx")
    assert (head.headers["Content-Length"], await head.read()) == (str(len(ONNX_BYTES)), b"")


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"Range": "bytes=10-19"}, 206, ONNX_BYTES[10:20]),
        ({"Range": "bytes=-5"}, 206, ONNX_BYTES[-5:]),
        ({"Range": "bytes=0-3", "If-Range": f'"{DIGEST}"'}, 206, ONNX_BYTES[:4]),
        ({"Range": "bytes=0-3", "If-Range": '"another"'}, 200, ONNX_BYTES),
        ({"If-None-Match": f'"{DIGEST}"'}, 304, b""),
        ({"If-None-Match": '"another"'}, 200, ONNX_BYTES),
        ({"If-Match": f'"{DIGEST}"'}, 200, ONNX_BYTES),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200, ONNX_BYTES),
    ],
)
async def test_ranges_and_conditions(api, model, headers, status, body):
    made = await model()
    artifact = f"/v1/artifacts/{made['artifact_id']}/content"
    for url in (f"/v1/models/{made['id']}/onnx", artifact):
        reply = await api.http.get(url, headers=headers)
        assert (reply.status, await reply.read()) == (status, body)
        if status < 400:
            assert reply.headers["ETag"] == f'"{DIGEST}"'


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=-0"])
async def test_a_range_that_the_file_lacks(api, model, problem, asked):
    made = await model()
    reply = await api.http.get(f"/v1/models/{made['id']}/onnx", headers={"Range": asked})
    await problem(reply, 416, "range_not_satisfiable")
    assert reply.headers["Content-Range"] == f"bytes */{len(ONNX_BYTES)}"


@pytest.mark.parametrize("asked", ["bytes=5-3", "lines=1-2"])
async def test_a_range_that_is_none_is_ignored(api, model, asked):
    made = await model()
    reply = await api.http.get(f"/v1/models/{made['id']}/onnx", headers={"Range": asked})
    assert (reply.status, await reply.read()) == (200, ONNX_BYTES)


async def test_if_match_of_another_digest_fails(api, model):
    made = await model()
    reply = await api.http.get(f"/v1/models/{made['id']}/onnx", headers={"If-Match": '"x"'})
    assert reply.status == 412


async def test_artifacts_of_others_are_not_there(api, model, problem, stranger):
    made = await model()
    url = f"/v1/artifacts/{made['artifact_id']}/content"
    await problem(await api.http.get(url, headers=stranger), 404, "artifact_not_found")
    await problem(await api.http.get("/v1/artifacts/nope/content"), 404, "artifact_not_found")


ROW = {"age": 3.5, "city": "Łódź", "signed_up": None}


async def test_predict_rows_in_rows_out(api, model):
    await model()
    reply = await api.http.post("/v1/models/churn/predict", json={"rows": [ROW, ROW]})
    answer = await reply.json()
    TypeAdapter(PredictionOut).validate_python(answer)
    assert (reply.status, len(answer["rows"])) == (200, 2)
    assert answer["rows"][0]["prediction"] == "yes"


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"rows": [ROW | {"age": [1]}]}, ["rows", 0, "age"]),
        ({"rows": [ROW, ROW | {"age": {}}]}, ["rows", 1, "age"]),
        ({"rows": []}, ["rows"]),
        ({"rows": {}}, ["rows"]),
        ({"rows": [3]}, ["rows", 0]),
        ({"row": [ROW]}, ["row"]),
        ({"rows": [{"age": 1, "city": "x"}]}, ["rows", 0, "signed_up"]),
        ({"rows": [ROW | {"colour": 1}]}, ["rows", 0, "colour"]),
    ],
)
async def test_wrong_rows_are_named(api, model, problem, body, loc):
    await model()
    reply = await api.http.post("/v1/models/churn/predict", json=body)
    found = await problem(reply, 422, "validation_failed")
    assert loc in [error["loc"] for error in found["errors"]]
    locs = [str(error["loc"]) for error in found["errors"]]
    assert len(locs) == len(set(locs)), "a union's arms are not separate errors"


async def test_nan_in_a_row_is_refused(api, model, problem):
    await model()
    raw = b'{"rows": [{"age": NaN, "city": "x", "signed_up": null}]}'
    headers = {"Content-Type": "application/json"}
    reply = await api.http.post("/v1/models/churn/predict", data=raw, headers=headers)
    found = await problem(reply, 422, "validation_failed")
    assert found["errors"][0]["loc"] == ["rows", 0, "age"]


async def test_predict_takes_more_than_other_routes_and_no_more(engine, serve_with, problem):
    config = Config(max_json_bytes=1000, max_predict_bytes=5000)
    async with serve_with(engine, config) as api:
        long = {"rows": [{"a": "x" * 2000}]}
        reply = await api.http.post("/v1/models/nope/predict", json=long)
        await problem(reply, 404, "model_not_found")
        reply = await api.http.post("/v1/jobs", json={"task": "x" * 2000})
        await problem(reply, 413, "too_large")
        reply = await api.http.post("/v1/models/nope/predict", json={"rows": [{"a": "x" * 6000}]})
        await problem(reply, 413, "too_large")


async def test_the_catalogue(api, problem):
    tasks = await (await api.http.get("/v1/tasks")).json()
    TypeAdapter(list[TaskOut]).validate_python(tasks["items"])
    one = await (await api.http.get("/v1/tasks/binclass")).json()
    assert one["params_schema"]["properties"]["trials"]["maximum"] == 200
    missing = await problem(await api.http.get("/v1/tasks/binclas"), 404, "task_not_found")
    assert missing["hint"] == "Did you mean 'binclass'?"
    plugins = await (await api.http.get("/v1/plugins")).json()
    TypeAdapter(list[PluginOut]).validate_python(plugins["items"])
    assert [plugin["status"] for plugin in plugins["items"]] == ["loaded", "quarantined"]
    environments = await (await api.http.get("/v1/environments")).json()
    assert environments["items"][0]["name"] == "tabular"


async def test_every_route_asks_for_a_token(api, problem):
    for resource in api.app.router.resources():
        path = resource.canonical
        if not path.startswith("/v1"):
            continue
        for route in resource:
            if route.handler.__name__ == "refuse":  # a method that this path lacks: 405
                continue
            url = path.replace("{", "").replace("}", "")
            for headers, code in [
                ({"Authorization": ""}, "malformed_token"),
                ({"Authorization": f"Basic {TOKEN}"}, "malformed_token"),
                ({"Authorization": "Bearer "}, "malformed_token"),
                ({"Authorization": "Bearer wrong"}, "unauthenticated"),
            ]:
                reply = await api.http.request(route.method, url, headers=headers)
                assert reply.status == 401, (route.method, url)
                assert reply.headers["WWW-Authenticate"] == (
                    'Bearer realm="trainbox", error="invalid_token"'
                )
                if route.method != "HEAD":
                    await problem(reply, 401, code)


async def test_no_token_at_all(api, problem):
    reply = await api.http.get("/v1/jobs", skip_auto_headers=["User-Agent"], headers={})
    assert reply.status == 200
    import aiohttp

    async with aiohttp.ClientSession(api.url) as bare:
        reply = await bare.get("/v1/jobs")
        found = await problem(reply, 401, "missing_token")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="trainbox"'
        assert "state directory" in found["hint"]
        two = await bare.get(
            "/v1/jobs",
            headers=[("Authorization", "Bearer a"), ("Authorization", f"Bearer {TOKEN}")],
        )
        await problem(two, 401, "malformed_token")
