"""Half-sent headers, creeping bodies, readers that do not read, and too many of everything."""

import asyncio
import json
import socket
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from doors import Doors  # noqa: E402

from trainbox.http import HttpConfig, build_app, listening  # noqa: E402

WITHIN_S = 20.0
"""What takes longer never comes: the limits under test are fractions of a second."""


@asynccontextmanager
async def serving(engine, file=None, **limits):
    config = HttpConfig(**({"linger_s": 0.2, "tick_s": 0.05} | limits))
    doors = Doors(file)
    app = build_app(engine, [doors], config)
    async with listening(app, "127.0.0.1", 0, config) as url:
        async with aiohttp.ClientSession(
            url, headers={"Authorization": "Bearer fake-token"}
        ) as http:
            yield SimpleNamespace(port=int(url.rsplit(":", 1)[1]), doors=doors, http=http, app=app)
            doors.go.set()


async def drip(writer, ended, piece=b"x", every_s=0.03):
    """Send a byte now and then until the other end has had enough."""
    while not ended.done():
        writer.write(piece)
        await asyncio.sleep(every_s)


async def until_closed(port, start, piece=b"x"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    ended = asyncio.create_task(reader.read())
    async with asyncio.timeout(WITHIN_S):
        await drip(writer, ended, piece)
    writer.close()
    return b"" if ended.exception() else ended.result()


@pytest.mark.parametrize(
    "start", [b"GET /d", b"GET /d HTTP/1.1\r\nHost: localhost\r\nX: "], ids=["line", "field"]
)
async def test_a_header_that_drips_is_cut_though_bytes_come(engine, start):
    async with serving(engine, header_timeout_s=0.3, idle_timeout_s=60) as api:
        assert await until_closed(api.port, start) == b""


async def test_the_next_header_on_a_connection_has_its_own_time(engine):
    async with serving(engine, header_timeout_s=0.4, idle_timeout_s=60) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        for _ in range(4):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"}")
            await asyncio.sleep(0.2)  # idle is not a header
        writer.write(b"GET /heal")
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readuntil(b"}")
        writer.close()


async def test_a_slow_handler_is_not_a_slow_header(engine):
    async with serving(engine, header_timeout_s=0.1) as api:
        waiting = asyncio.create_task(api.http.get("/doors/wait"))
        await api.doors.inside.acquire()
        await asyncio.sleep(0.4)
        api.doors.go.set()
        assert (await waiting).status == 200


@pytest.mark.parametrize(
    ("path", "framing"),
    [
        ("/doors/stream", b"Content-Length: 100000000"),
        ("/doors/stream", b"Transfer-Encoding: chunked"),
        ("/doors", b"Content-Length: 1000"),
    ],
)
async def test_a_body_that_creeps_is_408(engine, path, framing):
    limits = {"body_window_s": 0.2, "min_body_bytes_per_s": 10_000, "body_timeout_s": 60}
    async with serving(engine, **limits) as api:
        start = (
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer fake-token\r\n%b\r\n\r\n"
            % (path.encode(), framing)
        )
        piece = b"1\r\nx\r\n" if b"chunked" in framing else b"x"
        answer = await until_closed(api.port, start, piece)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in answer


async def test_a_body_at_the_least_rate_is_fine(engine):
    async def steady():
        for _ in range(30):
            yield b"x" * 2000
            await asyncio.sleep(0.02)

    async with serving(engine, body_window_s=0.1, min_body_bytes_per_s=1000) as api:
        reply = await api.http.post("/doors/stream", data=steady())
        assert (reply.status, await reply.text()) == (200, "60000")


@contextmanager
def silent_reader(port, path):
    """A socket that asks and then takes nothing."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        sock.connect(("127.0.0.1", port))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield sock


def is_cut(sock):
    """Whether what comes ends early, once it is read."""
    sock.settimeout(WITHIN_S)
    size = 0
    try:
        while chunk := sock.recv(1 << 20):
            size += len(chunk)
    except ConnectionError:
        return True
    return size < 64 * 1024 * 1024


@pytest.mark.parametrize("path", ["/doors/lots", "/doors/file"])
async def test_a_reader_who_takes_nothing_is_cut(engine, tmp_path, path):
    file = tmp_path / "file"
    with file.open("wb") as out:
        out.truncate(64 * 1024 * 1024)
    async with serving(engine, file, write_stall_s=0.5) as api:
        with silent_reader(api.port, path) as sock:
            async with asyncio.timeout(WITHIN_S):
                while state_of(sock) != "closed":
                    await asyncio.sleep(0.1)
            assert await asyncio.to_thread(is_cut, sock)


def state_of(sock):
    """Whether the server's end of a connection is still there, as the kernel lists it."""
    port = f":{sock.getpeername()[1]:04X}" if connected(sock) else ""
    mine = f":{sock.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if port and local.endswith(port) and remote.endswith(mine) and state == "01":
            return "open"
    return "closed"


def connected(sock):
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


async def test_a_slow_reader_is_not_a_silent_one(engine):
    async with serving(engine, write_stall_s=1.0) as api:
        with silent_reader(api.port, "/doors/lots") as sock:

            def slowly():
                sock.settimeout(WITHIN_S)
                began = time.monotonic()
                while time.monotonic() - began < 2.0:
                    assert sock.recv(65536)
                    time.sleep(0.02)

            await asyncio.to_thread(slowly)
            assert state_of(sock) == "open"


async def test_connections_are_counted_in_all_and_per_peer(engine):
    for limit in ({"max_connections": 3}, {"max_connections_per_peer": 3}):
        async with serving(engine, **limit) as api:
            held = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(3)]
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            answer = await asyncio.wait_for(reader.read(), WITHIN_S)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1" in head
            assert json.loads(body)["code"] == "too_many_connections"
            writer.close()
            held.pop()[1].close()
            async with asyncio.timeout(WITHIN_S):
                while b"200 OK" not in await ask(api.port):
                    await asyncio.sleep(0.05)
            for _, writer in held:
                writer.close()


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_too_many_in_flight_are_503_and_health_still_answers(engine):
    async with serving(engine, max_in_flight=2) as api:
        waiting = [asyncio.create_task(api.http.get("/doors/wait")) for _ in range(2)]
        for _ in waiting:
            await api.doors.inside.acquire()
        refused = await api.http.get("/doors")
        assert (refused.status, (await api.http.get("/livez")).status) == (503, 200)
        api.doors.go.set()
        assert [(await task).status for task in waiting] == [200, 200]
        assert (await api.http.get("/doors")).status == 200


async def test_streams_do_not_use_up_what_may_be_in_flight(engine):
    async with serving(engine, max_in_flight=1) as api:
        streams = [await api.http.get("/doors/for-ever") for _ in range(3)]
        assert (await api.http.get("/doors")).status == 200
        for stream in streams:
            stream.close()


async def test_bodies_share_their_memory(engine):
    async with serving(engine, max_body_memory_bytes=1500) as api:
        _, writer = await asyncio.open_connection("127.0.0.1", api.port)
        head = "POST /doors HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        writer.write(head.encode() + b"x")
        async with asyncio.timeout(WITHIN_S):
            while (await api.http.post("/doors", data=b"x" * 1000)).status != 503:
                await asyncio.sleep(0.02)
        assert (await api.http.post("/doors", data=b"x" * 100)).status == 200
        writer.close()
        async with asyncio.timeout(WITHIN_S):
            while (await api.http.post("/doors", data=b"x" * 1000)).status != 200:
                await asyncio.sleep(0.02)


async def test_a_revoked_tokens_streams_end(engine):
    async with serving(engine) as api:
        admin = engine.principals["fake-token"]
        made = await engine.create_token(admin, name="t", scopes=["read"])
        stream = await api.http.get(
            "/doors/for-ever", headers={"Authorization": f"Bearer {made.secret}"}
        )
        other = await api.http.get("/doors/for-ever")
        await api.doors.engine.revoke_token(admin, made.token.id)
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(stream.read(), WITHIN_S)
        assert await other.content.read(1) == b"x"
        other.close()
