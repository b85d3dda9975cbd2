"""POST /v1/datasets as raw bodies and as forms; listings."""

import asyncio

import aiohttp
import pytest
from pydantic import TypeAdapter

from trainbox_plugins.native.datasets import wire
from trainbox_plugins.native.config import Config
from trainbox_sdk.errors import TooLarge


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
