"""Who is let in how often, over which socket, and whom a proxy may speak for."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from doors import Doors  # noqa: E402

from trainbox.http import HttpConfig, build_app, listening  # noqa: E402
from trainbox.http.peers import Proxies  # noqa: E402
from trainbox.http.rates import Buckets, Rate, parse_rate  # noqa: E402
from trainbox.http.unix_socket import UnixSocket  # noqa: E402
from trainbox.origin import ORIGIN  # noqa: E402
from trainbox_sdk.engine import Principal  # noqa: E402
from trainbox_sdk.errors import Unavailable  # noqa: E402
from trainbox_sdk.testing.fake_engine import OTHER_TOKEN, TOKEN  # noqa: E402


@asynccontextmanager
async def serving(engine, host="127.0.0.1", unix=None, **limits):
    config = HttpConfig(**({"linger_s": 0.2} | limits))
    doors = Doors()
    app = build_app(engine, [doors], config)
    async with listening(app, host, 0, config, unix=unix) as url:
        connector = aiohttp.UnixConnector(str(unix.path)) if unix else None
        base = "http://localhost" if unix else url
        async with aiohttp.ClientSession(
            base, connector=connector, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as http:
            yield SimpleNamespace(url=url, http=http, doors=doors)


# -- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/minute", Rate(600, 60.0)),
        ("1/second", Rate(1, 1.0)),
        ("5/hour", Rate(5, 3600.0)),
        ("5/day", Rate(5, 86400.0)),
        ("", None),
    ],
)
def test_rates_are_read(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["600", "0/minute", "-1/second", "1.5/second", "1/week", "1 /day"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


def test_a_bucket_gives_its_amount_at_once_and_refills_evenly():
    now = [1000.0]
    buckets = Buckets(Rate(3, 6.0), clock=lambda: now[0])
    taken = [buckets.take("ann") for _ in range(4)]
    assert [each.allowed for each in taken] == [True, True, True, False]
    assert [each.remaining for each in taken] == [2, 1, 0, 0]
    assert taken[3].retry_after_s == pytest.approx(2.0)
    assert taken[3].full_in_s == pytest.approx(6.0)
    assert buckets.take("bob").allowed, "another's bucket is full"
    now[0] += 2.0
    assert [buckets.take("ann").allowed for _ in range(2)] == [True, False]
    now[0] += 60.0
    assert [buckets.take("ann").allowed for _ in range(4)] == [True, True, True, False]


def test_buckets_that_are_full_are_forgotten():
    now = [0.0]
    buckets = Buckets(Rate(1, 1.0), clock=lambda: now[0])
    for number in range(50_000):
        now[0] += 0.001
        buckets.take(f"caller {number}")
    assert len(buckets._full_at) <= 10_000


async def test_each_token_and_class_has_its_own_rate(engine):
    rates = {"reads": "2/hour", "changes": "1/hour", "uploads": "1/hour", "predict": "1/hour"}
    async with serving(engine, rates=rates) as api:
        seen = [await api.http.get("/doors") for _ in range(3)]
        assert [reply.status for reply in seen] == [200, 200, 429]
        assert [reply.headers["RateLimit"].split(";")[1] for reply in seen] == ["r=1", "r=0", "r=0"]
        assert {reply.headers["RateLimit-Policy"] for reply in seen} == {'"reads";q=2;w=3600'}
        assert 1790 <= int(seen[2].headers["Retry-After"]) <= 1800
        other = await api.http.get("/doors", headers={"Authorization": f"Bearer {OTHER_TOKEN}"})
        assert other.status == 200
        for path, name in [("", "changes"), ("/stream", "uploads"), ("/predict", "predict")]:
            replies = [await api.http.post(f"/doors{path}", data=b"x") for _ in range(2)]
            assert [reply.status for reply in replies] == [200, 429]
            assert replies[1].headers["RateLimit-Policy"] == f'"{name}";q=1;w=3600'


async def test_without_rates_nothing_is_said_of_them(engine):
    async with serving(engine, rates={"reads": ""}) as api:
        reply = await api.http.get("/doors")
        assert (reply.status, "RateLimit" in reply.headers) == (200, False)


async def test_wrong_tokens_are_throttled_by_peer_and_good_ones_are_not(engine):
    async with serving(engine, rates={"auth_failures": "3/hour"}) as api:
        wrong = {"Authorization": "Bearer wrong"}
        seen = [(await api.http.get("/doors", headers=wrong)).status for _ in range(5)]
        assert seen == [401, 401, 401, 429, 429]
        assert (await api.http.get("/doors")).status == 200


# -- proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "forwarded", "caller"),
    [
        ((), "203.0.113.9", "127.0.0.1"),
        (("10.0.0.0/8",), "203.0.113.9", "127.0.0.1"),
        (("127.0.0.0/8",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.0/8",), "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (("127.0.0.0/8", "10.0.0.0/8"), "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        (("127.0.0.0/8",), "203.0.113.9, what?", "127.0.0.1"),
        (("127.0.0.0/8",), "", "127.0.0.1"),
        (("::ffff:0:0/96", "127.0.0.1"), "2001:db8::1", "2001:db8::1"),
    ],
)
async def test_only_a_trusted_proxy_says_who_calls(engine, trusted, forwarded, caller):
    callers = []
    authenticate = engine.authenticate

    async def note(token):
        callers.append(ORIGIN.get().peer)
        return await authenticate(token)

    engine.authenticate = note
    async with serving(engine, trusted_proxies=trusted) as api:
        await api.http.get("/doors", headers={"X-Forwarded-For": forwarded})
    assert callers == [caller]


@pytest.mark.parametrize(
    ("limits", "headers", "status"),
    [
        ({}, {"Origin": "https://train.lan"}, 403),
        ({"public_url": "https://train.lan"}, {"Origin": "https://train.lan"}, 200),
        ({"public_url": "https://train.lan"}, {"Origin": "https://evil.lan"}, 403),
        ({"public_url": "https://train.lan"}, {"Host": "train.lan"}, 200),
        ({"public_url": "https://train.lan"}, {"Host": "evil.lan"}, 421),
        (
            {},
            {"Origin": "https://localhost", "Host": "localhost", "X-Forwarded-Proto": "https"},
            403,
        ),
        (
            {"trusted_proxies": ("127.0.0.1",)},
            {"Origin": "https://localhost", "Host": "localhost", "X-Forwarded-Proto": "https"},
            200,
        ),
        (
            {"trusted_proxies": ("127.0.0.1",), "allowed_hosts": frozenset({"train.lan"})},
            {
                "Origin": "https://train.lan",
                "X-Forwarded-Host": "train.lan",
                "X-Forwarded-Proto": "https",
            },
            200,
        ),
        ({"trusted_proxies": ("127.0.0.1",)}, {"X-Forwarded-Host": "evil.lan"}, 421),
        ({"allowed_hosts": frozenset({"train.lan"})}, {"X-Forwarded-Host": "evil.lan"}, 200),
    ],
)
async def test_sites_behind_a_proxy_that_ends_tls(engine, limits, headers, status):
    async with serving(engine, **limits) as api:
        assert (await api.http.get("/doors", headers=headers)).status == status


@pytest.mark.parametrize("bad", ["train.lan", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(bad):
    with pytest.raises(ValueError, match="does not appear to be"):
        Proxies([bad])


async def test_a_trusted_proxy_carries_many_callers(engine):
    limits = {"max_connections_per_peer": 1, "trusted_proxies": ("127.0.0.1",)}
    async with serving(engine, **limits) as api:
        streams = [await api.http.get("/doors/for-ever") for _ in range(3)]
        assert [stream.status for stream in streams] == [200] * 3
        for stream in streams:
            stream.close()


# -- the Unix socket -----------------------------------------------------------------------------


async def test_a_unix_socket_beside_tcp(engine, tmp_path):
    path = tmp_path / "trainbox.sock"
    async with serving(engine, unix=UnixSocket(path)) as api:
        assert path.stat().st_mode & 0o777 == 0o660
        assert (await api.http.get("/doors")).status == 200
        async with aiohttp.ClientSession(api.url) as tcp:
            assert (await tcp.get("/livez")).status == 200
        refused = await api.http.get("/doors", headers={"Host": "evil.example"})
        assert refused.status == 421
    assert not path.exists()


async def test_a_unix_socket_alone(engine, tmp_path):
    async with serving(engine, host="", unix=UnixSocket(tmp_path / "s")) as api:
        assert api.url == f"unix:{tmp_path / 's'}"
        assert (await api.http.get("/doors")).status == 200


async def test_nothing_to_listen_on_is_refused(engine):
    with pytest.raises(Unavailable, match="nothing to listen on"):
        async with serving(engine, host=""):
            pass


async def test_the_users_of_a_unix_socket_are_told_apart(engine, tmp_path):
    peers = []
    authenticate = engine.authenticate

    async def note(token):
        peers.append(ORIGIN.get().peer)
        return await authenticate(token)

    engine.authenticate = note
    async with serving(engine, unix=UnixSocket(tmp_path / "s")) as api:
        await api.http.get("/doors")
    assert peers == [f"unix:uid={os.getuid()}"]


async def test_a_trusted_user_needs_no_token(engine, tmp_path):
    ann = Principal("ann", "uid", frozenset({"read"}))
    where = UnixSocket(tmp_path / "s")
    async with serving(engine, unix=where, unix_trust={os.getuid(): ann}) as api:
        async with aiohttp.ClientSession(
            "http://localhost", connector=aiohttp.UnixConnector(str(where.path))
        ) as bare:
            assert await (await bare.get("/doors")).text() == "ann"
            assert await (await bare.post("/doors", data=b"body")).text() == "ann"
        assert await (await api.http.get("/doors")).text() == "user-1", "a token counts more"
        async with aiohttp.ClientSession(api.url) as tcp:
            assert (await tcp.get("/doors")).status == 500, "this surface wants a header over TCP"
    async with serving(engine, unix=where, unix_trust={os.getuid() + 1: ann}) as api:
        async with aiohttp.ClientSession(
            "http://localhost", connector=aiohttp.UnixConnector(str(where.path))
        ) as bare:
            assert (await bare.get("/doors")).status == 500, "someone else is trusted"


async def test_what_a_killed_daemon_left_is_replaced_and_a_living_ones_is_not(engine, tmp_path):
    path = tmp_path / "s"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import socket; socket.socket(socket.AF_UNIX).bind({str(path)!r})"
    )
    await process.wait()
    assert path.is_socket()
    async with serving(engine, unix=UnixSocket(path)):
        with pytest.raises(Unavailable, match="another process listens there"):
            async with serving(engine, unix=UnixSocket(path)):
                pass
        assert path.is_socket()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: UnixSocket(folder / "file"), "something that is no socket"),
        (lambda folder: UnixSocket(folder / "none" / "s"), "No such file"),
        (lambda folder: UnixSocket(folder / ("x" * 200)), "AF_UNIX path too long"),
        (lambda folder: UnixSocket(folder / "s", "no-such-group"), "no group 'no-such-group'"),
    ],
    ids=["a file", "no folder", "too long", "no group"],
)
async def test_where_no_unix_socket_can_be(engine, tmp_path, make, message):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Unavailable, match=message):
        async with serving(engine, unix=make(tmp_path)):
            pass
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_a_group_may_connect(engine, tmp_path):
    import grp

    path = tmp_path / "s"
    group = grp.getgrgid(os.getgid()).gr_name
    async with serving(engine, unix=UnixSocket(path, group)):
        assert path.stat().st_gid == os.getgid()
