"""Server-sent events, JSON lines and logs: order, resume, silence, slow readers."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from trainbox.http import start_draining
from trainbox.http.state import DRAIN
from trainbox_plugins.native.config import Config
from trainbox_sdk.errors import Forbidden
from trainbox_sdk.jobs import State


def parse(text):
    """Return the events of a stream and its comments."""
    events, comments = [], []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line]
        comments += [line for line in lines if line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        if "data" in fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events, comments


async def read_until(reply, wanted):
    text = ""
    while wanted not in text:
        chunk = await asyncio.wait_for(reply.content.readany(), 20)
        assert chunk, f"the stream ended without {wanted!r}: {text}"
        text += chunk.decode()
    return text


async def test_a_stream_tells_the_whole_story_and_ends(api, job):
    made = await job()
    async with api.http.get(f"/v1/jobs/{made['id']}/events") as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        assert reply.headers["Cache-Control"] == "no-store"
        text = await read_until(reply, '"queued"')
        await api.engine.run(made["id"])
        text += (await asyncio.wait_for(reply.content.read(), 20)).decode()
    assert text.startswith("retry: 1000\n\n")
    events, _ = parse(text)
    assert [number for number, _, _ in events] == list(range(1, 8))
    assert [kind for _, kind, _ in events] == [
        "state",
        "state",
        "state",
        "progress",
        "metric",
        "model",
        "state",
    ]
    assert events[-1][2]["data"]["state"] == "succeeded"
    assert all(event["job_id"] == made["id"] for _, _, event in events)


async def test_resume_by_header_or_query_gives_the_rest_and_nothing_twice(api, job):
    made = await job()
    await api.engine.run(made["id"])
    url = f"/v1/jobs/{made['id']}/events"
    by_header = await (await api.http.get(url, headers={"Last-Event-ID": "5"})).text()
    by_query = await (await api.http.get(f"{url}?after=5")).text()
    both = await (await api.http.get(f"{url}?after=1", headers={"Last-Event-ID": "5"})).text()
    assert [number for number, _, _ in parse(by_header)[0]] == [6, 7]
    assert parse(by_header) == parse(by_query) == parse(both)


async def test_a_browser_that_has_everything_is_told_to_stop(api, job):
    made = await job()
    await api.engine.run(made["id"])
    url = f"/v1/jobs/{made['id']}/events"
    reply = await api.http.get(url, headers={"Last-Event-ID": "7"})
    assert (reply.status, await reply.text()) == (204, "")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30, "٣"])
async def test_a_foreign_event_id_is_refused(api, job, problem, last):
    made = await job()
    raw = f"/v1/jobs/{made['id']}/events"
    reply = await api.http.get(raw, headers={"Last-Event-ID": last})
    await problem(reply, 422, "validation_failed")


@pytest.mark.parametrize(
    "query", ["after=-1", "after=9" + "9" * 30, "after=x", "follow=maybe", "x=1"]
)
async def test_wrong_event_queries(api, job, problem, query):
    made = await job()
    for path in ("/v1/events", f"/v1/jobs/{made['id']}/events"):
        await problem(await api.http.get(f"{path}?{query}"), 422, "validation_failed")


async def test_silence_is_filled_with_comments(engine, serve_with):
    async with serve_with(engine, Config(heartbeat_s=0.05)) as api:
        async with api.http.get("/v1/events") as reply:
            text = await read_until(reply, ": still here\n\n: still here")
    assert parse(text)[0] == []


async def test_not_following_gives_json_lines(api, job):
    made = await job()
    reply = await api.http.get(f"/v1/jobs/{made['id']}/events?follow=false")
    assert reply.content_type == "application/x-ndjson"
    lines = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert [line["seq"] for line in lines] == [1]


async def test_accept_json_gives_an_array(api, job):
    made = await job()
    headers = {"Accept": "application/json"}
    reply = await api.http.get(f"/v1/jobs/{made['id']}/events", headers=headers)
    assert [event["kind"] for event in await reply.json()] == ["state"]
    empty = await api.http.get(f"/v1/jobs/{made['id']}/events?after=99", headers=headers)
    assert await empty.json() == []


async def test_json_lines_can_follow(api, job):
    made = await job()
    headers = {"Accept": "application/x-ndjson"}
    url = f"/v1/jobs/{made['id']}/events?follow=true"
    async with api.http.get(url, headers=headers) as reply:
        await read_until(reply, "queued")
        await api.engine.finish(made["id"], State.FAILED, "no memory")
        rest = await asyncio.wait_for(reply.content.read(), 20)
    assert json.loads(rest.splitlines()[-1])["data"]["reason"] == "no memory"


async def test_all_events_show_only_my_jobs(api, job, stranger):
    made = await job()
    mine = await (await api.http.get("/v1/events", headers={"Accept": "application/json"})).json()
    assert {event["job_id"] for event in mine} == {made["id"]}
    headers = stranger | {"Accept": "application/json"}
    assert await (await api.http.get("/v1/events", headers=headers)).json() == []


async def test_an_error_of_the_first_step_is_still_a_problem(api, problem):
    api.engine.raises["events"] = Forbidden("only admins")
    await problem(await api.http.get("/v1/events"), 403, "forbidden")


async def test_nan_in_an_event_becomes_null(api, job):
    made = await job()
    await api.engine.emit(made["id"], "metric", name="loss", value=float("nan"))
    reply = await api.http.get(f"/v1/jobs/{made['id']}/events?follow=false")
    assert json.loads((await reply.text()).splitlines()[-1])["data"]["value"] is None


async def test_line_breaks_in_an_event_do_not_break_the_stream(api, job):
    made = await job()
    text = "a\n\nid: 99\ndata: {}\r\n\u2028"
    await api.engine.emit(made["id"], "message", text=text)
    await api.engine.finish(made["id"])
    events, _ = parse(await (await api.http.get(f"/v1/jobs/{made['id']}/events")).text())
    assert events[1][2]["data"]["text"] == text
    assert [number for number, _, _ in events] == [1, 2, 3, 4]


async def test_a_slow_reader_holds_nobody_up_and_is_cut_off(engine, serve_with):
    async with serve_with(engine, Config(stalled_reader_s=0.3, heartbeat_s=0.05)) as api:
        data = b"a,target\n1,x\n2,y\n"
        reply = await api.http.post("/v1/datasets?format=csv", data=data)
        made = await (
            await api.http.post(
                "/v1/jobs",
                json={
                    "task": "binclass",
                    "dataset_id": (await reply.json())["id"],
                    "params": {"target": "target"},
                },
            )
        ).json()
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
        writer.transport.pause_reading()
        writer.write(
            f"GET /v1/jobs/{made['id']}/events HTTP/1.1\r\nHost: localhost\r\n"
            "Authorization: Bearer fake-token\r\n\r\n".encode()
        )
        async with api.http.get(f"/v1/jobs/{made['id']}/events") as quick:
            await read_until(quick, "queued")
            for number in range(400):
                await engine.emit(made["id"], "message", text=f"{number} " + "x" * 60_000)
            await engine.finish(made["id"])
            story = (await asyncio.wait_for(quick.content.read(), 60)).decode()
        assert parse(story)[0][-1][2]["data"]["state"] == "succeeded"
        async with asyncio.timeout(30):
            while api.app[DRAIN].streams:
                await asyncio.sleep(0.02)
        writer.transport.resume_reading()
        taken = b""
        with contextlib.suppress(ConnectionError):
            while chunk := await asyncio.wait_for(reader.read(65536), 30):
                taken += chunk
        writer.close()
    assert taken.startswith(b"HTTP/1.1 200 OK")
    assert b"succeeded" not in taken
    assert not taken.endswith(b"0\r\n\r\n"), "a cut stream must not look complete"


async def test_logs_follow_to_the_end_and_resume_by_offset(api, job):
    made = await job()
    url = f"/v1/jobs/{made['id']}/logs"
    await api.engine.write_log(made["id"], "erste Zeile ü\n".encode())
    async with api.http.get(f"{url}?follow=true") as reply:
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "ü" in await read_until(reply, "Zeile ü\n")
        await api.engine.write_log(made["id"], b"<script>\x1b[31m\xff\n")
        await api.engine.finish(made["id"])
        rest = await asyncio.wait_for(reply.content.read(), 20)
    assert rest == b"<script>\x1b[31m\xff\n"
    assert await (await api.http.get(f"{url}?offset=15")).read() == rest
    assert await (await api.http.get(f"{url}?offset=10000")).read() == b""


@pytest.mark.parametrize(
    "query", ["offset=-1", "offset=9" + "9" * 30, "offset=x", "follow=perhaps", "tail=5"]
)
async def test_wrong_log_queries(api, job, problem, query):
    made = await job()
    reply = await api.http.get(f"/v1/jobs/{made['id']}/logs?{query}")
    await problem(reply, 422, "validation_failed")


async def test_streams_end_when_the_daemon_stops(engine, serve_with):
    headers = {"Authorization": "Bearer fake-token"}
    async with aiohttp.ClientSession(headers=headers) as outlives_the_daemon:
        async with serve_with(engine) as api:
            reply = await outlives_the_daemon.get(f"{api.url}/v1/events")
            start_draining(api.app)
            ending = asyncio.create_task(reply.content.read())
            await asyncio.sleep(0)
            assert not ending.done()
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(ending, 20)
        reply.close()


async def test_readers_that_leave_let_go_of_the_engine(api, job):
    made = await job()
    before = len(asyncio.all_tasks())
    for _ in range(5):
        reply = await api.http.get(f"/v1/jobs/{made['id']}/events")
        await read_until(reply, "queued")
        reply.close()
    await api.engine.finish(made["id"])
    async with asyncio.timeout(20):
        while len(asyncio.all_tasks()) > before + 1:
            await asyncio.sleep(0.02)


async def test_log_lines_by_level_text_and_place(api, job):
    made = await job()
    url = f"/v1/jobs/{made['id']}/log-lines"
    said = b"INFO:a:one\n\x1b[33mWARNING:a:two\x1b[0m\nERROR:a:\xff three\n<script>\n"
    await api.engine.write_log(made["id"], said)
    found = await (await api.http.get(url)).json()
    assert (found["matching"], found["total"]) == (4, 4)
    assert found["lines"][1] == {
        "number": 2,
        "level": "warning",
        "message": "WARNING:a:two",
        "at": None,
        "stream": None,
        "attempt": 1,
    }

    async def messages(query: str) -> list[str]:
        page = await (await api.http.get(f"{url}?{query}")).json()
        return [line["message"] for line in page["lines"]]

    assert await messages("level=warning") == ["WARNING:a:two", "ERROR:a:\ufffd three"]
    assert await messages("text=A:O") == ["INFO:a:one"]
    assert await messages("limit=1&offset=1") == ["WARNING:a:two"]
    assert await messages("limit=1&tail=true&offset=1") == ["ERROR:a:\ufffd three"]


@pytest.mark.parametrize(
    "query", ["level=loud", "limit=0", "limit=5001", "offset=-1", "tail=perhaps", "q=x"]
)
async def test_wrong_queries_for_lines(api, job, problem, query):
    made = await job()
    reply = await api.http.get(f"/v1/jobs/{made['id']}/log-lines?{query}")
    await problem(reply, 422, "validation_failed")
