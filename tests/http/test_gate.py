"""What every request passes: ids, hosts, sites, bodies, time, draining, errors."""

import asyncio
import gzip
import io
import json

import aiohttp
import pytest

from trainbox.http import HttpConfig, build_app, listening, start_draining
from trainbox_sdk.engine import Check
from trainbox_sdk.errors import Unavailable


def parse(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), {k.lower(): v for k, v in headers.items()}, body


async def test_ids_come_back(api):
    given = await api.http.get("/echo", headers={"X-Request-ID": "abc-1.2_3"})
    assert given.headers["X-Request-ID"] == "abc-1.2_3"
    first, second = await api.http.get("/echo"), await api.http.get("/echo")
    assert len({first.headers["X-Request-ID"], second.headers["X-Request-ID"]}) == 2


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "<script>", "ü", ""])
async def test_ids_that_could_spoil_a_log_are_replaced(api, bad):
    reply = await api.http.get("/echo", headers={"X-Request-ID": bad})
    assert reply.headers["X-Request-ID"] != bad
    assert len(reply.headers["X-Request-ID"]) == 16


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8422",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:8422",
        "LOCALHOST",
        "localhost.",
    ],
)
async def test_known_hosts(api, host):
    assert (await api.http.get("/echo", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8422", "127.0.0.1.evil.example", "localhost@evil", "[::2]",
     "127.0.0.1:port", "localhost:1:2", "a/b", "127.1"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/echo", "/healthz", "/nowhere"])
async def test_foreign_hosts(api, host, path):
    reply = await api.http.get(path, headers={"Host": host})
    assert reply.status == 421


async def test_a_foreign_host_outside_surfaces_gets_a_problem(api):
    reply = await api.http.get("/healthz", headers={"Host": "evil.example"})
    problem = await reply.json(content_type="application/problem+json")
    assert (problem["status"], problem["instance"]) == (421, "/healthz")
    assert "evil.example" in problem["detail"]
    assert problem["request_id"] == reply.headers["X-Request-ID"]


async def test_configured_hosts(serve_with):
    async with serve_with(allowed_hosts=frozenset({"Train.Corp"})) as api:
        assert (await api.http.get("/echo", headers={"Host": "train.corp:8422"})).status == 200


async def test_no_host_and_two_hosts(api):
    status, *_ = parse(await api.raw(b"GET /echo HTTP/1.1\r\nConnection: close\r\n\r\n"))
    assert status in (400, 421)
    two = (
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert parse(await api.raw(two))[0] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://localhost:8422"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_other_sites(api, headers, method):
    headers = {"Host": "localhost:8422"} | headers
    reply = await api.http.request(method, "/echo", headers=headers)
    assert reply.status == 403


async def test_the_same_site(api):
    headers = {"Host": "localhost:8422", "Origin": "http://localhost:8422"}
    assert (await api.http.get("/echo", headers=headers)).status == 200
    for site in ("same-origin", "none"):
        assert (await api.http.get("/echo", headers={"Sec-Fetch-Site": site})).status == 200


async def test_each_route_has_its_own_cap(api):
    assert (await api.http.post("/echo/small", data=b"x" * 100)).status == 200
    assert (await api.http.post("/echo/small", data=b"x" * 101)).status == 413
    assert (await api.http.post("/echo/large", data=b"x" * 100_000)).status == 200
    assert (await api.http.post("/echo/large", data=b"x" * 100_001)).status == 413
    assert (
        await (await api.http.post("/echo/stream", data=io.BytesIO(b"x" * 3_000_000))).text()
        == "3000000"
    )


async def test_a_cap_above_a_mebibyte_is_the_one_that_counts(api):
    fits = await api.http.post("/echo/huge", data=io.BytesIO(b"x" * 3_000_000))
    assert await fits.text() == "3000000"
    assert (await api.http.post("/echo/huge", data=io.BytesIO(b"x" * 3_000_001))).status == 413


async def test_chunked_bodies_without_a_length_are_capped_too(api):
    async def pieces(count):
        for _ in range(count):
            yield b"x" * 10

    assert (await api.http.post("/echo/small", data=pieces(10))).status == 200
    assert (await api.http.post("/echo/small", data=pieces(11))).status == 413
    assert (await api.http.post("/echo/large", data=pieces(10_000))).status == 200
    assert (await api.http.post("/echo/large", data=pieces(10_001))).status == 413


async def test_a_bomb_is_capped_after_unpacking(api):
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < 100_000
    headers = {"Content-Encoding": "gzip"}
    assert (await api.http.post("/echo/large", data=bomb, headers=headers)).status == 413
    fits = gzip.compress(b"0" * 90_000)
    reply = await api.http.post("/echo/large", data=fits, headers=headers)
    assert (reply.status, await reply.text()) == (200, "90000")


async def test_half_a_body_does_not_stay_open(serve_with):
    async with serve_with(body_timeout_s=0.2) as api:
        raw = await api.raw(
            b"POST /echo/large HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nabc"
        )
        status, headers, body = parse(raw)
        assert (status, body) == (408, b"echo says 408")
        assert headers["connection"] == "close"


@pytest.mark.parametrize(
    "half",
    [b"", b"GET /echo HTTP/1.1\r\nHost: local", b"GET /echo HTTP/1.1\r\nHost: localhost\r\n"],
)
async def test_half_a_header_does_not_stay_open(serve_with, half):
    async with serve_with(idle_timeout_s=0.3) as api:
        assert await api.raw(half) == b""


async def test_an_idle_connection_does_not_stay_open(serve_with):
    async with serve_with(idle_timeout_s=0.3) as api:
        raw = await api.raw(b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert parse(raw)[0] == 200


async def test_dripping_a_header_does_not_keep_it_open(serve_with):
    async with serve_with(idle_timeout_s=0.4) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: ")
        ended = asyncio.create_task(reader.read())
        async with asyncio.timeout(20):
            while not ended.done():
                writer.write(b"x")
                await asyncio.sleep(0.05)
        assert isinstance(ended.exception(), ConnectionError) or ended.result() == b""
        writer.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"POST /echo/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["long-header", "long-path", "many-headers", "two-lengths", "negative", "nonsense"],
)
async def test_broken_requests_get_400_and_the_door(api, raw, caplog):
    status, headers, body = parse(await api.raw(raw))
    assert status == 400
    assert b"Traceback" not in body
    assert (await api.http.get("/echo")).status == 200


async def test_outside_surfaces_404_and_405_are_problems(api):
    for path in ("/", "/nowhere", "/v1/jobs", "/echox", "/healthz/x"):
        reply = await api.http.get(path)
        problem = await reply.json(content_type="application/problem+json")
        assert (reply.status, problem["title"]) == (404, "Not Found")
    reply = await api.http.post("/healthz")
    problem = await reply.json(content_type="application/problem+json")
    assert (reply.status, problem["title"]) == (405, "Method Not Allowed")
    assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_under_a_prefix_the_surface_answers_for_everything(api):
    for method, path, status in [
        ("GET", "/echo/nowhere", 404),
        ("DELETE", "/echo", 405),
        ("GET", "/echo/boom", 500),
    ]:
        reply = await api.http.request(method, path)
        assert (reply.status, await reply.text()) == (status, f"echo says {status}")


async def test_a_surface_whose_error_page_breaks_shows_nothing(api, caplog):
    reply = await api.http.get("/echo/boom?twice")
    text = await reply.text()
    assert reply.status == 500
    assert json.loads(text)["request_id"] == reply.headers["X-Request-ID"]
    assert "secret" not in text
    assert "broken" not in text
    logged = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert logged == ["secret-inside", "broken error page"]


async def test_an_error_after_the_first_byte_cuts_the_connection(api):
    raw = await api.raw(b"GET /echo/half HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"half" in raw
    assert not raw.endswith(b"0\r\n\r\n"), "a cut answer must not look complete"
    assert raw.count(b"HTTP/1.1") == 1


async def test_answers_are_not_sniffed_or_cached(api):
    for path in ("/echo", "/healthz", "/nowhere"):
        headers = (await api.http.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


async def test_draining_refuses_changes_and_keeps_reading(api):
    start_draining(api.app)
    refused = await api.http.post("/echo/small", data=b"x")
    assert (refused.status, refused.headers.get("Retry-After")) == (503, None)
    outside = await api.http.post("/nowhere")
    assert (outside.status, outside.headers["Retry-After"]) == (503, "5")
    assert (await api.http.get("/echo")).status == 200
    assert (await api.http.get("/healthz")).status == 200
    ready = await api.http.get("/readyz")
    checks = {check["name"]: check for check in (await ready.json())["checks"]}
    assert (ready.status, checks["accepting"]["ok"]) == (503, False)


async def test_health(api, engine):
    for path in ("/healthz", "/livez"):
        reply = await api.http.get(path)
        assert (reply.status, await reply.json()) == (200, {"status": "ok"})
        assert (await api.http.head(path)).status == 200
    assert engine.calls == [], "liveness asks nobody"
    ready = await api.http.get("/readyz")
    assert (ready.status, (await ready.json())["status"]) == (200, "ready")
    engine.checks = (Check("store", ok=True, detail=""), Check("backend", ok=False, detail="dead"))
    ready = await api.http.get("/readyz")
    body = await ready.json()
    assert (ready.status, body["status"]) == (503, "not ready")
    assert body["checks"][1] == {"name": "backend", "ok": False, "detail": "dead"}


async def test_readiness_that_raises_is_not_ready(api, engine):
    engine.raises["readiness"] = Unavailable("store broke")
    reply = await api.http.get("/readyz")
    checks = (await reply.json())["checks"]
    assert (reply.status, checks[0]["detail"]) == (503, "store broke")


async def test_stopping_lets_short_requests_end_and_cuts_long_ones(serve_with):
    async with aiohttp.ClientSession() as outlives:
        async with serve_with(stop_grace_s=5) as api:
            endless = await outlives.get(f"{api.url}/echo/for-ever")
            short = asyncio.create_task(outlives.get(f"{api.url}/echo/slow"))
            reading = asyncio.create_task(endless.content.read())
            await asyncio.sleep(0.1)
        assert await (await short).text() == "done"
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(reading, 20)
        endless.close()


async def test_a_taken_port_is_a_clear_refusal(api, engine, echo):
    app = build_app(engine, [echo], HttpConfig())
    with pytest.raises(Unavailable, match=f"port {api.port} on 127.0.0.1 is in use") as refused:
        async with listening(app, "127.0.0.1", api.port, HttpConfig()):
            pass
    assert refused.value.code == "address_in_use"
    assert "--port" in refused.value.hint


async def test_an_address_that_is_not_ours(engine, echo):
    app = build_app(engine, [echo], HttpConfig())
    with pytest.raises(Unavailable, match="cannot listen on 192.0.2.1") as refused:
        async with listening(app, "192.0.2.1", 0, HttpConfig()):
            pass
    assert refused.value.code == "cannot_listen"


async def test_ipv6(engine, echo):
    app = build_app(engine, [echo], HttpConfig())
    async with listening(app, "::1", 0, HttpConfig()) as url, aiohttp.ClientSession(url) as session:
        assert url.startswith("http://[::1]:")
        assert (await session.get("/echo")).status == 200


async def test_an_answer_before_the_body_says_that_it_closes(api):
    async def endless():
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    reply = await api.http.post("/echo/small", data=endless())
    assert (reply.status, reply.headers["Connection"]) == (413, "close")
    whole = await api.http.post("/echo/nowhere", data=b"x")
    assert (whole.status, "Connection" in whole.headers) == (404, False)
