"""POST and GET /v1/jobs: the good, the bad, and the twice sent."""

import asyncio

import pytest
from pydantic import TypeAdapter

from trainbox_plugins.native.jobs import wire
from trainbox_sdk import errors


async def test_submit_answers_202_with_location_and_the_job(api, job):
    made = await job(name="Überraschung", labels={"team": "数据"}, priority=5)
    TypeAdapter(wire.JobOut).validate_python(made)
    assert made["name"] == "Überraschung"
    assert made["labels"] == {"team": "数据"}
    assert made["state"] == "queued"
    reply = await api.http.get(f"/v1/jobs/{made['id']}")
    assert reply.status == 200
    assert (await reply.json())["id"] == made["id"]


async def test_location_points_at_the_job(api, dataset):
    data = await dataset()
    body = {"task": "binclass", "dataset_id": data["id"], "params": {"target": "target"}}
    reply = await api.http.post("/v1/jobs", json=body)
    again = await api.http.get(reply.headers["Location"])
    assert (await again.json())["id"] == (await reply.json())["id"]


async def test_the_same_key_is_replayed_and_says_so(api, dataset, problem):
    data = await dataset()
    body = {"task": "binclass", "dataset_id": data["id"], "params": {"target": "target"}}
    headers = {"Idempotency-Key": "order-17"}
    first = await api.http.post("/v1/jobs", json=body, headers=headers)
    second = await api.http.post("/v1/jobs", json=body, headers=headers)
    assert (first.status, second.status) == (202, 202)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (await first.json())["id"] == (await second.json())["id"]
    listing = await (await api.http.get("/v1/jobs")).json()
    assert len(listing["items"]) == 1
    body["params"]["trials"] = 3
    clash = await api.http.post("/v1/jobs", json=body, headers=headers)
    await problem(clash, 409, "idempotency_clash")


@pytest.mark.parametrize("key", ["x" * 201, "tab\tinside", "schlüssel"])
async def test_a_bad_key_is_refused(api, dataset, problem, key):
    data = await dataset()
    body = {"task": "binclass", "dataset_id": data["id"], "params": {"target": "target"}}
    reply = await api.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
    found = await problem(reply, 422, "validation_failed")
    assert found["errors"][0]["loc"] == ["header", "Idempotency-Key"]


@pytest.mark.parametrize(
    ("body", "loc", "hint"),
    [
        ({"tsk": "binclass"}, ["tsk"], "Did you mean 'task'?"),
        ({"task": "binclass", "resources": {"memory": 1}}, ["resources", "memory"], "memory_bytes"),
        ({"task": "binclass", "colour": 1}, ["colour"], "Known: backend, dataset_id"),
        ({"task": 3}, ["task"], ""),
        ({"task": ""}, ["task"], ""),
        ({"task": "binclass", "priority": 101}, ["priority"], ""),
        ({"task": "binclass", "priority": "1"}, ["priority"], ""),
        ({"task": "binclass", "params": []}, ["params"], ""),
        ({"task": "binclass", "labels": {"a": 1}}, ["labels", "a"], ""),
        ({"task": "binclass", "resources": {"cpus": 0}}, ["resources", "cpus"], ""),
        ({"task": "binclass", "resources": {"cpus": 10**9}}, ["resources", "cpus"], ""),
        (
            {"task": "binclass", "resources": {"memory_bytes": 10**30}},
            ["resources", "memory_bytes"],
            "",
        ),
        ({"task": "binclass", "resources": {"timeout_s": 1e300}}, ["resources", "timeout_s"], ""),
        ({"task": "binclass", "labels": {str(n): "" for n in range(65)}}, ["labels"], ""),
        ({"params": {}}, ["task"], "Add this field."),
    ],
)
async def test_wrong_fields_are_named_with_a_hint(api, problem, body, loc, hint):
    reply = await api.http.post("/v1/jobs", json=body)
    found = await problem(reply, 422, "validation_failed")
    here = [error for error in found["errors"] if error["loc"] == loc]
    assert here, found
    assert hint in here[0]["hint"]
    assert "submit" not in api.engine.calls


async def test_all_wrong_fields_come_at_once(api, problem):
    reply = await api.http.post(
        "/v1/jobs", json={"task": "binclass", "a": 1, "b": 2, "priority": []}
    )
    found = await problem(reply, 422, "validation_failed")
    assert [error["loc"] for error in found["errors"]] == [["priority"], ["a"], ["b"]]


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"",
        b"not json",
        b'{"task": "binclass"} trailing',
        b'{"task": "bin\xff\xfeclass"}',
        b'{"params":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"task": "\\ud800"}',
    ],
    ids=["cut", "empty", "text", "trailing", "not-utf8", "deep", "lone-surrogate"],
)
async def test_what_is_not_json_is_400(api, problem, raw):
    headers = {"Content-Type": "application/json"}
    reply = await api.http.post("/v1/jobs", data=raw, headers=headers)
    await problem(reply, 400, "malformed_body")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_numbers_json_lacks_are_refused_wherever_they_hide(api, problem, number):
    raw = '{"task": "binclass", "params": {"target": "t", "deep": [{"x": %s}]}}' % number
    headers = {"Content-Type": "application/json"}
    reply = await api.http.post("/v1/jobs", data=raw.encode(), headers=headers)
    found = await problem(reply, 422, "validation_failed")
    assert found["errors"][0]["loc"] == ["params", "deep", 0, "x"]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_json_routes_read_json_only(api, problem, media):
    reply = await api.http.post("/v1/jobs", data=b"{}", headers={"Content-Type": media})
    await problem(reply, 415, "unsupported_media_type")


async def test_what_the_engine_refuses_arrives_field_by_field(api, dataset, problem):
    data = await dataset()
    body = {"task": "binclas", "dataset_id": data["id"], "params": {"target": "x", "trials": 201}}
    found = await problem(await api.http.post("/v1/jobs", json=body), 422, "validation_failed")
    assert {tuple(error["loc"]) for error in found["errors"]} == {
        ("task",),
        ("params", "trials"),
        ("params", "target"),
    }


async def test_listing_filters_and_pages(api, job):
    made = [await job(name=f"job {number}") for number in range(5)]
    await api.engine.finish(made[0]["id"])
    reply = await (await api.http.get("/v1/jobs", params={"limit": 2})).json()
    names = [item["name"] for item in reply["items"]]
    while reply["next"]:
        params = {"limit": 2, "after": reply["next"]}
        reply = await (await api.http.get("/v1/jobs", params=params)).json()
        names += [item["name"] for item in reply["items"]]
    assert names == [f"job {number}" for number in (4, 3, 2, 1, 0)]
    done = await (await api.http.get("/v1/jobs?state=succeeded,failed")).json()
    assert [item["id"] for item in done["items"]] == [made[0]["id"]]
    both = await (await api.http.get("/v1/jobs?state=succeeded&state=queued")).json()
    assert len(both["items"]) == 5
    of_data = await api.http.get("/v1/jobs", params={"dataset": made[2]["dataset_id"]})
    assert [item["id"] for item in (await of_data.json())["items"]] == [made[2]["id"]]


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("stat=queued", "stat"),
        ("state=sleeping", "state"),
    ],
)
async def test_a_wrong_query_is_named(api, problem, query, loc):
    found = await problem(await api.http.get(f"/v1/jobs?{query}"), 422, "validation_failed")
    assert found["errors"][0]["loc"][:2] == ["query", loc]


async def test_cancel_and_retry(api, job, problem):
    made = await job()
    reply = await api.http.post(f"/v1/jobs/{made['id']}/cancel")
    assert reply.status == 202
    assert (await reply.json())["state"] == "cancelled"
    await problem(await api.http.post(f"/v1/jobs/{made['id']}/cancel"), 409, "job_ended")
    reply = await api.http.post(f"/v1/jobs/{made['id']}/retry")
    assert (reply.status, (await reply.json())["state"]) == (202, "queued")
    await problem(await api.http.post(f"/v1/jobs/{made['id']}/retry"), 409, "not_retryable")


@pytest.mark.parametrize("path", ["", "/logs", "/log-lines", "/events", "/artifacts"])
async def test_no_such_job_and_not_yours_look_the_same(api, job, problem, stranger, path):
    made = await job()
    missing = await problem(await api.http.get(f"/v1/jobs/nope{path}"), 404, "job_not_found")
    foreign = await api.http.get(f"/v1/jobs/{made['id']}{path}", headers=stranger)
    refused = await problem(foreign, 404, "job_not_found")
    assert refused["detail"].replace(made["id"], "nope") == missing["detail"]


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_verbs_on_no_such_job(api, problem, verb):
    await problem(await api.http.post(f"/v1/jobs/nope/{verb}"), 404, "job_not_found")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ValidationFailed("m"), 422),
        (errors.NotFound("m"), 404),
        (errors.Conflict("m"), 409),
        (errors.IdempotencyClash("m"), 409),
        (errors.Unauthenticated("m"), 401),
        (errors.Forbidden("m"), 403),
        (errors.TooLarge("m"), 413),
        (errors.Unavailable("m"), 503),
        (errors.StorageFull("m"), 507),
        (errors.BackendUnavailable("m"), 503),
        (errors.BackendRejected("m"), 422),
        (errors.PluginError("m"), 500),
        (errors.TrainboxError("m"), 500),
    ],
)
async def test_each_error_of_the_tree_has_its_status(api, problem, error, status):
    api.engine.raises["jobs"] = error
    reply = await api.http.get("/v1/jobs")
    found = await problem(reply, status, error.code)
    assert found["detail"] == "m"
    assert ("Retry-After" in reply.headers) == error.retryable
    assert ("WWW-Authenticate" in reply.headers) == (status == 401)


async def test_a_bug_shows_a_request_id_and_nothing_else(api, problem, caplog):
    api.engine.raises["jobs"] = RuntimeError("the-secret-inside")
    reply = await api.http.get("/v1/jobs")
    found = await problem(reply, 500, "internal_error")
    assert "the-secret-inside" not in str(found)
    logged = [record for record in caplog.records if record.exc_info]
    assert "the-secret-inside" in str(logged[0].exc_info[1])
    assert logged[0].request_id == found["request_id"]


async def test_artifacts_of_a_job(api, job):
    made = await job()
    await api.engine.finish(made["id"])
    listing = await (await api.http.get(f"/v1/jobs/{made['id']}/artifacts")).json()
    assert [item["name"] for item in listing["items"]] == ["model.onnx"]
    TypeAdapter(list[wire.ArtifactOut]).validate_python(listing["items"])


async def test_many_submissions_at_once_each_make_one_job(api, dataset):
    data = await dataset()
    body = {"task": "binclass", "dataset_id": data["id"], "params": {"target": "target"}}
    replies = await asyncio.gather(
        *(
            api.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": f"k{n % 10}"})
            for n in range(40)
        )
    )
    assert {reply.status for reply in replies} == {202}
    assert len({(await reply.json())["id"] for reply in replies}) == 10
