"""POST /v1/datasets as raw bodies and as forms; listings."""

import asyncio

import aiohttp
import pytest
from pydantic import TypeAdapter

from trainbox_plugins.native.datasets import wire
from trainbox_plugins.native.config import Config
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import TooLarge
from trainbox_sdk.testing.fake_engine import OTHER_TOKEN
from trainbox_sdk.uploads import NewDataset


async def test_raw_csv_makes_a_dataset(api, csv_text):
    reply = await api.http.post(
        "/v1/datasets?name=Kunden 2024",
        data=csv_text.encode(),
        headers={"Content-Type": "text/csv; charset=utf-8"},
    )
    made = await reply.json()
    assert reply.status == 201
    assert reply.headers["Location"] == f"/v1/datasets/{made['id']}"
    TypeAdapter(wire.DatasetOut).validate_python(made)
    assert (made["name"], made["rows"], len(made["columns"])) == ("Kunden 2024", 3, 4)
    by_id = await (await api.http.get(reply.headers["Location"])).json()
    by_name = await (await api.http.get("/v1/datasets/Kunden 2024")).json()
    assert by_id == by_name == made


async def test_a_chunked_body_without_length_is_stored(api, csv_text):
    async def pieces():
        for character in csv_text:
            yield character.encode()

    reply = await api.http.post("/v1/datasets?format=csv", data=pieces())
    assert (reply.status, (await reply.json())["rows"]) == (201, 3)


@pytest.mark.parametrize(
    ("media", "format_"),
    [("text/csv", "csv"), ("application/vnd.apache.parquet", "parquet")],
)
async def test_the_media_type_decides_the_format(api, media, format_):
    reply = await api.http.post("/v1/datasets", data=b"a\n1\n", headers={"Content-Type": media})
    assert (await reply.json())["source_format"] == format_


async def test_the_query_beats_the_media_type(api):
    headers = {"Content-Type": "application/octet-stream"}
    reply = await api.http.post("/v1/datasets?format=parquet", data=b"PAR1", headers=headers)
    assert (await reply.json())["source_format"] == "parquet"


async def test_without_a_format_it_is_415(api, problem):
    headers = {"Content-Type": "application/octet-stream"}
    reply = await api.http.post("/v1/datasets", data=b"a\n", headers=headers)
    found = await problem(reply, 415, "unsupported_media_type")
    assert "format=csv" in found["hint"]
    assert "put_dataset" not in api.engine.calls


@pytest.mark.parametrize(
    ("query", "loc"), [("format=xls", "format"), ("nme=x", "nme"), ("name=" + "x" * 201, "name")]
)
async def test_a_wrong_query_is_named(api, problem, query, loc):
    headers = {"Content-Type": "text/csv"}
    reply = await api.http.post(f"/v1/datasets?{query}", data=b"a\n1\n", headers=headers)
    found = await problem(reply, 422, "validation_failed")
    assert found["errors"][0]["loc"] == ["query", loc]


async def test_what_the_engine_says_of_bad_data_arrives(api, problem):
    headers = {"Content-Type": "text/csv"}
    reply = await api.http.post("/v1/datasets", data=b"a,b\n1\n", headers=headers)
    found = await problem(reply, 422, "ragged_csv")
    assert "row 2" in found["detail"]


async def test_a_refused_stream_answers_before_it_is_read(api, problem):
    api.engine.raises["put_dataset"] = TooLarge("over 1 MiB")

    async def endless():
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    request = api.http.post("/v1/datasets?format=csv", data=endless())
    reply = await asyncio.wait_for(request, 20)
    await problem(reply, 413, "too_large")


async def test_a_form_with_one_file(api, csv_text):
    form = aiohttp.FormData()
    form.add_field("name", "aus dem Formular")
    form.add_field("file", csv_text.encode(), filename="kunden.csv")
    reply = await api.http.post("/v1/datasets", data=form)
    made = await reply.json()
    assert (reply.status, made["name"], made["rows"]) == (201, "aus dem Formular", 3)


async def test_a_form_takes_name_and_format_from_the_file(api, csv_text):
    head = b'Content-Disposition: form-data; name="file"; filename="C:\\\\data\\\\Kunden.CSV"'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = _form((head, csv_text.encode()))
    made = await (await api.http.post("/v1/datasets", data=body, headers=headers)).json()
    assert (made["name"], made["source_format"]) == ("Kunden.CSV", "csv")


def _form(*parts):
    lines = [b"--b\r\n" + head + b"\r\n\r\n" + body + b"\r\n" for head, body in parts]
    return b"".join(lines) + b"--b--\r\n"


FILE = (b'Content-Disposition: form-data; name="file"; filename="a.csv"', b"a\n1\n")
NAME = (b'Content-Disposition: form-data; name="name"', b"x")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (_form(), 400, "malformed_body"),
        (_form(NAME), 400, "malformed_body"),
        (_form(FILE, NAME), 400, "malformed_body"),
        (_form(FILE, FILE), 400, "malformed_body"),
        (_form(*[NAME] * 20, FILE), 400, "malformed_body"),
        (_form((NAME[0], b"x" * 5000), FILE), 400, "malformed_body"),
        (_form((NAME[0], b"\xff\xfe"), FILE), 400, "malformed_body"),
        (
            _form((b'Content-Disposition: form-data; name="x"', b"1"), FILE),
            422,
            "validation_failed",
        ),
        (_form((NAME[0].replace(b'"name"', b'"format"'), b"xls"), FILE), 422, "validation_failed"),
        (_form((FILE[0].replace(b".csv", b".bin"), b"a\n")), 415, "unsupported_media_type"),
        (b"no boundary here", 400, "malformed_body"),
        (
            _form((NAME[0] + b"\r\nContent-Type: multipart/mixed; boundary=c", b"--c--"), FILE),
            400,
            "malformed_body",
        ),
    ],
    ids=[
        "no-parts",
        "no-file",
        "part-after-file",
        "two-files",
        "many-parts",
        "long-field",
        "not-utf8",
        "unknown-part",
        "unknown-format",
        "unknown-type",
        "no-boundary",
        "nested",
    ],
)
async def test_bad_forms(api, problem, body, status, code):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = await api.http.post("/v1/datasets", data=body, headers=headers)
    await problem(reply, status, code)
    listing = await (await api.http.get("/v1/datasets")).json()
    assert listing["items"] == []


async def test_a_form_without_a_boundary(api, problem):
    headers = {"Content-Type": "multipart/form-data"}
    reply = await api.http.post("/v1/datasets", data=b"--b--", headers=headers)
    await problem(reply, 400, "malformed_body")


async def test_an_upload_that_stands_still_is_given_up(engine, serve_with):
    async with serve_with(engine, Config(upload_idle_s=0.2)) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(
            b"POST /v1/datasets?format=csv HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer fake-token\r\nContent-Length: 100\r\n\r\na,b\n1"
        )
        answer = await asyncio.wait_for(reader.read(), 20)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"body_timeout" in answer
        writer.close()
        assert (await (await api.http.get("/v1/datasets")).json())["items"] == []


async def test_an_upload_cut_off_leaves_nothing_and_no_traceback(api, caplog):
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(
        b"POST /v1/datasets?format=csv HTTP/1.1\r\nHost: localhost\r\n"
        b"Authorization: Bearer fake-token\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n"
    )
    await writer.drain()
    while "put_dataset" not in api.engine.calls:
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()
    assert (await (await api.http.get("/v1/datasets")).json())["items"] == []
    assert not [record for record in caplog.records if record.exc_info]


async def test_listing_pages(api, dataset):
    for number in range(3):
        await dataset(name=f"d{number}")
    first = await (await api.http.get("/v1/datasets?limit=2")).json()
    rest = await (await api.http.get(f"/v1/datasets?limit=2&after={first['next']}")).json()
    assert [d["name"] for d in first["items"] + rest["items"]] == ["d2", "d1", "d0"]
    assert rest["next"] is None


async def test_an_unknown_dataset_and_a_foreign_one(api, dataset, problem, stranger):
    made = await dataset()
    await problem(await api.http.get("/v1/datasets/nope"), 404, "dataset_not_found")
    foreign = await api.http.get(f"/v1/datasets/{made['id']}", headers=stranger)
    await problem(foreign, 404, "dataset_not_found")
    await problem(await api.http.get("/v1/datasets?after=nonsense"), 422, "bad_cursor")


# -- versions, looking, trash ---------------------------------------------------------------------


async def test_the_same_bytes_again_are_answered_200(api, dataset, csv_text):
    made = await dataset(name="same")
    headers = {"Content-Type": "text/csv"}
    reply = await api.http.post("/v1/datasets?name=same", data=csv_text.encode(), headers=headers)
    assert (reply.status, reply.headers["Dataset-Replayed"]) == (200, "true")
    assert (await reply.json())["id"] == made["id"]


async def test_what_is_said_beside_the_data_reaches_the_engine(api, csv_text, monkeypatch):
    seen = []
    put = api.engine.put_dataset

    async def note(who, spec, body):
        seen.append(spec)
        return await put(who, spec, body)

    monkeypatch.setattr(api.engine, "put_dataset", note)
    params = {
        "name": "n",
        "description": "d",
        "types": '{"age": "number"}',
        "labels": '{"team": "crm"}',
    }
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "k"}
    reply = await api.http.post(
        "/v1/datasets", params=params, data=csv_text.encode(), headers=headers
    )
    assert reply.status == 201
    assert seen == [
        NewDataset(
            "n",
            "csv",
            description="d",
            types={"age": "number"},
            labels={"team": "crm"},
            idempotency_key="k",
        )
    ]


@pytest.mark.parametrize(
    "query", ["types={", 'types={"a":"date"}', "types=[]", 'labels={"a":1}', "description=%00x"]
)
async def test_bad_options_of_an_upload_are_named(api, problem, query):
    headers = {"Content-Type": "text/csv"}
    reply = await api.http.post(f"/v1/datasets?{query}", data=b"a\n1\n", headers=headers)
    if query.startswith("description"):
        assert reply.status == 201
    else:
        await problem(reply, 422, "validation_failed")


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("versions", wire.VersionsOut),
        ("profile", wire.ProfileOut),
        ("profile?target=age", wire.ProfileOut),
        ("preview?rows=2", wire.PreviewOut),
    ],
)
async def test_each_look_has_its_type(api, dataset, path, type_):
    made = await dataset()
    reply = await api.http.get(f"/v1/datasets/{made['id']}/{path}")
    assert reply.status == 200
    TypeAdapter(type_).validate_python(await reply.json())


async def test_the_content_as_csv_and_as_a_range(api, dataset, csv_text):
    made = await dataset(name="Köln")
    text = await api.http.get(f"/v1/datasets/{made['id']}/content?format=csv")
    assert (text.content_type, await text.read()) == ("text/csv", csv_text.encode())
    assert "K%C3%B6ln.csv" in text.headers["Content-Disposition"]
    head = await api.http.head(f"/v1/datasets/{made['id']}/content?format=csv")
    assert (head.status, await head.read()) == (200, b"")
    part = await api.http.get(f"/v1/datasets/{made['id']}/content", headers={"Range": "bytes=0-2"})
    assert (part.status, await part.read()) == (206, csv_text.encode()[:3])


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("items=0-1", 200),
        ("bytes=5-2", 200),
        ("bytes=a-b", 200),
        ("bytes=-", 200),
        ("bytes=0-1,3-4", 200),
        ("bytes=-2", 206),
        ("bytes=-0", 416),
        ("bytes=999999-", 416),
    ],
)
async def test_ranges_that_are_none_are_ignored(api, dataset, csv_text, asked, status):
    made = await dataset(name="r")
    part = await api.http.get(f"/v1/datasets/{made['id']}/content", headers={"Range": asked})
    assert part.status == status
    if status != 416:
        whole = csv_text.encode()
        assert await part.read() == (whole if status == 200 else whole[-2:])


async def test_thrown_away_restored_and_purged(api, dataset, problem, stranger):
    made = await dataset(name="t")
    path = f"/v1/datasets/{made['id']}"
    thrown = await (await api.http.delete(path)).json()
    TypeAdapter(wire.DatasetOut).validate_python(thrown)
    assert thrown["trashed_at"] is not None
    listed = await (await api.http.get("/v1/datasets?trashed=true")).json()
    assert [each["id"] for each in listed["items"]] == [made["id"]]
    assert (await (await api.http.post(f"{path}/restore")).json())["trashed_at"] is None
    await api.http.delete(path)
    api.engine.principals[OTHER_TOKEN] = Principal("user-2", "other", frozenset({"submit", "read"}))
    refused = await api.http.post("/v1/trash/purge", json={}, headers=stranger)
    await problem(refused, 403, "missing_scope")
    for body, field in (({"older_than_s": -1}, "older_than_s"), ({"dry": True}, "dry")):
        found = await problem(
            await api.http.post("/v1/trash/purge", json=body), 422, "validation_failed"
        )
        assert found["errors"][0]["loc"] == [field]
    report = await (await api.http.post("/v1/trash/purge", json={"dry_run": True})).json()
    TypeAdapter(wire.PurgeOut).validate_python(report)
    assert [each["id"] for each in report["purged"]] == [made["id"]]
    await api.http.post("/v1/trash/purge", json={})
    await problem(await api.http.post(f"{path}/restore"), 409, "dataset_purged")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/preview?rows=0", None),
        ("GET", "/preview?rows=1001", None),
        ("GET", "/content?format=xls", None),
        ("GET", "/profile?target=", None),
        ("PATCH", "", {"label": {}}),
        ("PATCH", "", {"labels": {"a": 1}}),
        ("PATCH", "", {"description": "x" * 4097}),
    ],
)
async def test_wrong_requests_on_a_dataset(api, dataset, problem, method, path, body):
    made = await dataset()
    reply = await api.http.request(method, f"/v1/datasets/{made['id']}{path}", json=body)
    await problem(reply, 422, "validation_failed")


@pytest.mark.parametrize("query", ["sort=age", "trashed=maybe", "format=xls", "limit=0"])
async def test_wrong_listings(api, problem, query):
    await problem(await api.http.get(f"/v1/datasets?{query}"), 422, "validation_failed")


async def test_an_import_takes_name_and_format_from_the_path(api, problem):
    reply = await api.http.post("/v1/datasets/import", json={"path": "/srv/a.csv.gz"})
    await problem(reply, 403, "imports_disabled")
    reply = await api.http.post("/v1/datasets/import", json={"path": "/srv/a.bin"})
    found = await problem(reply, 422, "validation_failed")
    assert found["errors"][0]["loc"] == ["format"]
    await problem(await api.http.post("/v1/datasets/import", json={}), 422, "validation_failed")
