"""Where a webhook may not lead: by its URL when it is made, by its address when it is called."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from aiohttp import web

from trainbox import settings
from trainbox.engine import receivers as module
from trainbox.engine.receivers import Receivers
from trainbox.webhooks.sender import Sender
from trainbox_sdk.testing.daemon import RequestFailed

LOOPBACKS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "localhost",
    "LOCALHOST.",
    "[::1]",
    "[::ffff:127.0.0.1]",
]
NEVER = [
    "169.254.169.254",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "0.0.0.0",
    "[::]",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "[64:ff9b::a9fe:a9fe]",
]
FINE = ["10.0.0.7", "192.168.1.5", "172.16.0.9", "hooks.corp.lan", "[fd12::7]", "93.184.216.34"]


@pytest.mark.parametrize("host", LOOPBACKS)
def test_loopback_is_closed_unless_listed(host):
    assert Receivers().url_problem(f"http://{host}:9000/x") is not None
    assert Receivers(["http://*:9000"]).url_problem(f"http://{host}:9000/x") is None


@pytest.mark.parametrize("host", NEVER)
def test_some_addresses_are_closed_even_if_listed(host):
    for allowed in ([], ["*://*:*"]):
        assert Receivers(allowed).url_problem(f"https://{host}/x") is not None


@pytest.mark.parametrize("host", FINE)
def test_private_and_public_hosts_are_fine(host):
    assert Receivers().url_problem(f"https://{host}:8443/x?y=1") is None


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://a/b", "file:///etc/passwd", "http://", "http:///x", "http://u:p@host/",
     "http://host/#f", "http://host:99999/", "http://host:0/", "http://a b/", "http://[::1",
     "http://ho\tst/", "http://\u00e9/", "http://h/" + "a" * 2048, "gopher://h", "//host/x",
     "http://host\r\nX: y/"],
)  # fmt: skip
def test_what_is_no_receivers_url_is_refused(url):
    problem = Receivers(["*://*:*"]).url_problem(url)
    assert problem is not None and problem.loc == ("url",) and problem.msg


@pytest.mark.parametrize(
    ("pattern", "url", "listed"),
    [
        ("https://*.corp.lan", "https://a.corp.lan/x", True),
        ("https://*.corp.lan", "https://a.corp.lan:443/x", True),
        ("https://*.corp.lan", "https://a.corp.lan:8443/x", False),
        ("https://*.corp.lan", "http://a.corp.lan/x", False),
        ("https://*.corp.lan", "https://a.corp.lan.evil.example/x", False),
        ("https://*.corp.lan", "https://evil.example/?a.corp.lan", False),
        ("*://host:*", "http://HOST:1/", True),
        ("http://[::1]:9", "http://[::1]:9/", True),
    ],
)
def test_patterns(pattern, url, listed):
    receivers = Receivers([pattern])
    assert receivers.listed(url) is listed
    assert (receivers.url_problem(url) is None) is listed


@pytest.mark.parametrize(
    "pattern", ["", "host", "ftp://h", "https://", "https://h:x", "https://h/p"]
)
def test_a_pattern_that_is_none_stops_the_start(pattern):
    with pytest.raises(ValueError):
        Receivers([pattern])
    with pytest.raises(ValueError):
        settings.Settings(webhook_allowed=[pattern])


def test_the_settings_and_the_room_read_patterns_alike():
    assert module.PATTERN.pattern == settings.RECEIVER


def test_the_daemons_own_port_is_closed_on_every_address_of_this_host():
    receivers = Receivers(["*://*:*"])
    receivers.own_ports.add(8422)
    mine = ipaddress.ip_address("127.0.0.1")
    assert "own" in receivers.address_problem(mine, 8422, listed=True)
    assert receivers.address_problem(mine, 8423, listed=True) == ""
    elsewhere = ipaddress.ip_address("192.0.2.7")
    assert receivers.address_problem(elsewhere, 8422, listed=True) == ""


# --- at the connection


@pytest.fixture
async def heard():
    """A receiver on loopback that counts."""
    calls = []

    async def hear(request):
        calls.append(await request.read())
        return web.Response(text="x" * 10_000_000)  # nobody will read this

    app = web.Application()
    app.router.add_post("/", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await web.SockSite(runner, sock).start()
    yield calls, sock.getsockname()[1]
    await runner.cleanup()


class Blind(Receivers):
    """Takes every URL, as if its name had led elsewhere when it was made (DNS rebinding)."""

    def url_problem(self, url):
        return None


@pytest.mark.parametrize("host", [*LOOPBACKS, "0.0.0.0"])
async def test_no_name_and_no_spelling_gets_through_at_the_connection(heard, host):
    calls, port = heard
    answer = await Sender(Blind()).send(f"http://{host}:{port}/", {}, "{}")
    assert answer.status is None and answer.error and calls == []


async def test_a_listed_receiver_is_reached_and_its_long_answer_left_unread(heard):
    calls, port = heard
    answer = await Sender(Receivers([f"http://127.0.0.1:{port}"])).send(
        f"http://127.0.0.1:{port}/", {}, "{}"
    )
    assert (answer.status, answer.error, calls) == (200, "", [b"{}"])


async def test_a_proxy_of_the_environment_is_not_used(heard, monkeypatch):
    calls, port = heard
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    sender = Sender(Receivers([f"http://127.0.0.1:{port}"]))
    assert (await sender.send(f"http://127.0.0.1:{port}/", {}, "{}")).status == 200


async def test_silence_and_rubbish_are_failures_with_words():
    async def silent(reader, writer):
        while await reader.read(10_000):
            pass  # until the caller hangs up
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    async def rubbish(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"this is not HTTP\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    answers, hung_up = [], asyncio.Event()
    for serve, timeout_s in ((silent, 0.1), (rubbish, 5.0)):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sender = Sender(Receivers([f"http://127.0.0.1:{port}"]), timeout_s)
        answers.append(await sender.send(f"http://127.0.0.1:{port}/", {}, "{}"))
        await hung_up.wait()
        server.close()
        await server.wait_closed()
    assert [answer.status for answer in answers] == [None, None]
    assert answers[0].error == "no answer within 0.1 s" and answers[1].error


# --- through the daemon


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 422, ["url"]),
        ({"url": 5}, 422, ["url"]),
        ({"url": "ftp://x"}, 422, ["url"]),
        ({"url": "http://192.0.2.9/hook"}, 422, ["url"]),
        ({"url": "http://127.0.0.1:1/", "events": ["job.done"]}, 422, ["events", 0]),
        ({"url": "http://127.0.0.1:1/", "events": "job.failed"}, 422, ["events"]),
        ({"url": "http://127.0.0.1:1/", "secret": "whsec_x"}, 422, ["secret"]),
        ({"url": "http://127.0.0.1:1/", "description": "a\u0000b"}, 422, ["description"]),
        ([], 422, []),
    ],
)
def test_bad_webhooks_are_refused_with_their_place(api, body, status, where):
    before = api.call("GET", "/v1/webhooks")["items"]
    with pytest.raises(RequestFailed) as refused:
        api.call("POST", "/v1/webhooks", body)
    assert refused.value.status == status
    assert refused.value.body["errors"][0]["loc"] == where
    assert api.call("GET", "/v1/webhooks")["items"] == before


def test_the_daemons_own_address_is_refused_at_once_and_its_name_when_it_is_called(api):
    with pytest.raises(RequestFailed) as refused:
        api.hook(f"http://127.0.0.1:{api.port}/v1/jobs")
    assert "this daemon's own" in refused.value.body["detail"]
    hook = api.hook(f"http://localhost:{api.port}/v1/jobs")
    api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    (done,) = api.settled(hook["id"])
    assert done["state"] == "failed" and "this daemon's own" in done["tries"][0]["error"]


def test_a_secret_is_shown_once(api, receiver):
    hook = api.hook(receiver.url, description="to the chat")
    assert hook["secret"].startswith("whsec_")
    shown = api.call("GET", f"/v1/webhooks/{hook['id']}")
    listed = api.call("GET", "/v1/webhooks")["items"]
    changed = api.call("PATCH", f"/v1/webhooks/{hook['id']}", {"events": ["job.failed"]})
    assert all("secret" not in one for one in (shown, changed, *listed))
    assert changed["events"] == ["job.failed"] and changed["description"] == "to the chat"
    assert hook["secret"] not in api.log_path.read_text()


def test_nobody_elses_webhook_is_found(api, receiver):
    hook = api.hook(receiver.url)
    for method, path in [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test"),
        ("GET", "/deliveries"), ("POST", "/deliveries/dlv_x/redeliver"),
    ]:  # fmt: skip
        for wrong in (hook["id"][:-1] + "0", "x"):
            body = {} if method == "PATCH" else None
            with pytest.raises(RequestFailed) as refused:
                api.call(method, f"/v1/webhooks/{wrong}{path}", body)
            assert (refused.value.status, refused.value.body["code"]) == (404, "webhook_not_found")
    with pytest.raises(RequestFailed) as refused:
        api.call("POST", f"/v1/webhooks/{hook['id']}/deliveries/dlv_x/redeliver")
    assert refused.value.body["code"] == "delivery_not_found"
