"""``/v1/uploads`` as tus 1.0.0 has it, over the fake engine."""

from __future__ import annotations

import base64

import pytest
from pydantic import TypeAdapter

from trainbox_plugins.native.datasets import wire

TUS = {"Tus-Resumable": "1.0.0"}
OFFSET = {**TUS, "Content-Type": "application/offset+octet-stream"}


def metadata(**said):
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items()
    )


@pytest.fixture
def begin(api, csv_text):
    async def make(size=None, **said):
        headers = {
            **TUS,
            "Upload-Length": str(len(csv_text.encode()) if size is None else size),
            "Upload-Metadata": metadata(**(said or {"filename": "kunden.csv"})),
        }
        return await api.http.post("/v1/uploads", headers=headers)

    return make


async def test_options_say_what_is_spoken(api):
    reply = await api.http.options("/v1/uploads")
    assert reply.status == 204
    assert reply.headers["Tus-Version"] == reply.headers["Tus-Resumable"] == "1.0.0"
    assert reply.headers["Tus-Extension"] == "creation,termination,expiration"
    assert int(reply.headers["Tus-Max-Size"]) == 1024**2


async def test_an_upload_in_pieces(api, begin, csv_text):
    made = await begin()
    assert (made.status, made.headers["Tus-Resumable"]) == (201, "1.0.0")
    assert made.headers["Upload-Expires"].endswith(" GMT")
    url, data = made.headers["Location"], csv_text.encode()
    for start, end in ((0, 10), (10, len(data))):
        reply = await api.http.patch(
            url, data=data[start:end], headers={**OFFSET, "Upload-Offset": str(start)}
        )
        assert (reply.status, reply.headers["Upload-Offset"]) == (204, str(end))
        assert reply.headers["Upload-State"] == ("receiving" if end == 10 else "done")
    dataset = reply.headers["Trainbox-Dataset"]
    head = await api.http.head(url, headers=TUS)
    assert (head.headers["Upload-Length"], head.headers["Upload-Offset"]) == (str(len(data)),) * 2
    assert head.headers["Upload-Metadata"] == metadata(filename="kunden.csv")
    assert head.headers["Cache-Control"] == "no-store"
    shown = await (await api.http.get(url)).json()
    TypeAdapter(wire.UploadOut).validate_python(shown)
    assert (shown["state"], shown["dataset_id"], shown["name"]) == ("done", dataset, "kunden.csv")
    assert (await (await api.http.get(f"/v1/datasets/{dataset}")).json())["rows"] == 3
    assert (await api.http.get(f"{url}/faults")).content_type == "text/csv"
    assert (await api.http.delete(url, headers=TUS)).status == 204
    assert (await api.http.get(url)).status == 404


async def test_bad_data_is_a_204_and_a_failure_to_read(api, begin):
    made = await begin(8)
    url = made.headers["Location"]
    reply = await api.http.patch(url, data=b"a,b\n1\n2\n", headers={**OFFSET, "Upload-Offset": "0"})
    assert (reply.status, reply.headers["Upload-State"]) == (204, "failed")
    shown = await (await api.http.get(url)).json()
    TypeAdapter(wire.UploadOut).validate_python(shown)
    assert shown["failure"]["code"] == "ragged_csv"


@pytest.mark.parametrize("version", [None, "0.9", "1.0.0, 0.2"])
async def test_another_version_is_412_and_names_ours(api, begin, problem, version):
    url = (await begin()).headers["Location"]
    headers = {} if version is None else {"Tus-Resumable": version}
    reply = await api.http.delete(url, headers=headers)
    await problem(reply, 412, "unknown_tus_version")
    assert (reply.headers["Tus-Version"], reply.headers["Tus-Resumable"]) == ("1.0.0", "1.0.0")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 422, "validation_failed"),
        ({"Upload-Length": "-1"}, 422, "validation_failed"),
        ({"Upload-Length": "1e3"}, 422, "validation_failed"),
        ({"Upload-Length": "9" * 30}, 422, "validation_failed"),
        ({"Upload-Length": "2000000"}, 413, "too_large"),
        ({"Upload-Length": str(2**63 - 1)}, 413, "too_large"),
        ({"Upload-Length": str(2**63)}, 422, "validation_failed"),
        ({"Upload-Length": "5", "Upload-Metadata": ""}, 422, "validation_failed"),
        ({"Upload-Length": "5", "Upload-Metadata": "filename !!"}, 422, "validation_failed"),
        ({"Upload-Length": "5", "Upload-Metadata": "filename /w=="}, 422, "validation_failed"),
        (
            {"Upload-Length": "5", "Upload-Metadata": metadata(filename="a.csv", types="{")},
            422,
            "validation_failed",
        ),
        ({"Upload-Defer-Length": "1"}, 422, "validation_failed"),
    ],
    ids=[
        "no-length",
        "negative",
        "no-number",
        "huge",
        "over-max",
        "most",
        "over-int64",
        "no-format",
        "no-base64",
        "no-utf8",
        "bad-types",
        "deferred",
    ],
)
async def test_bad_announcements(api, problem, headers, status, code):
    said = {"Upload-Metadata": metadata(filename="a.csv"), **TUS, **headers}
    await problem(await api.http.post("/v1/uploads", headers=said), status, code)


async def test_bad_pieces(api, begin, problem):
    url = (await begin(10)).headers["Location"]
    send = api.http.patch
    await problem(
        await send(url, data=b"x", headers={**TUS, "Upload-Offset": "0"}),
        415,
        "unsupported_media_type",
    )
    await problem(await send(url, data=b"x", headers=OFFSET), 422, "validation_failed")
    wrong = await send(url, data=b"x", headers={**OFFSET, "Upload-Offset": "3"})
    await problem(wrong, 409, "wrong_offset")
    assert wrong.headers["Tus-Resumable"] == "1.0.0"
    long = await send(url, data=b"x" * 11, headers={**OFFSET, "Upload-Offset": "0"})
    await problem(long, 413, "too_large")


async def test_a_strangers_upload_is_not_found(api, begin, stranger, problem):
    url = (await begin()).headers["Location"]
    await problem(await api.http.get(url, headers=stranger), 404, "upload_not_found")
    reply = await api.http.patch(
        url, data=b"a", headers={**OFFSET, **stranger, "Upload-Offset": "0"}
    )
    await problem(reply, 404, "upload_not_found")
    assert (await api.http.head("/v1/uploads/upl_none", headers=TUS)).status == 404
