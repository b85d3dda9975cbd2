import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from trainbox.http import HttpConfig, build_app, listening
from trainbox_sdk.surfaces import Route, Surface
from trainbox_sdk.testing.fake_engine import FakeEngine


class Echo(Surface):
    """A dialect of its own: plain-text errors, one route of each sort."""

    name = "echo"
    prefixes = ("/echo",)

    def routes(self, engine):
        return [
            Route("GET", "/echo", self.hello),
            Route("POST", "/echo/small", self.body, 100),
            Route("POST", "/echo/large", self.body, 100_000),
            Route("POST", "/echo/huge", self.body, 3_000_000),
            Route("POST", "/echo/stream", self.stream, None),
            Route("GET", "/echo/boom", self.boom),
            Route("GET", "/echo/half", self.half),
            Route("GET", "/echo/slow", self.slow),
            Route("GET", "/echo/for-ever", self.for_ever),
        ]

    def error_response(self, error, request):
        if request.path == "/echo/boom" and request.query:
            raise RuntimeError("broken error page")
        status = error.status if isinstance(error, web.HTTPException) else 500
        return web.Response(status=status, text=f"echo says {status}")

    async def hello(self, request):
        return web.Response(text="hello")

    async def body(self, request):
        return web.Response(text=str(len(await request.read())))

    async def stream(self, request):
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.Response(text=str(size))

    async def boom(self, request):
        raise ValueError("secret-inside")

    async def half(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise ValueError("too late")

    async def slow(self, request):
        await asyncio.sleep(0.3)
        return web.Response(text="done")

    async def for_ever(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def engine():
    fake = FakeEngine()
    yield fake
    fake.close()


@asynccontextmanager
async def serve_echo(engine, **config):
    settings = HttpConfig(**({"linger_s": 0.2} | config))
    app = build_app(engine, [Echo()], settings)
    async with listening(app, "127.0.0.1", 0, settings) as url:
        async with aiohttp.ClientSession(url) as session:
            port = int(url.rsplit(":", 1)[1])
            yield SimpleNamespace(url=url, port=port, app=app, http=session, raw=Raw(port))


class Raw:
    """Bytes over a socket, for what no client library will send."""

    def __init__(self, port):
        self.port = port

    async def __call__(self, request, *, read=True):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.read(), 20) if read else b""
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
def serve_with(engine):
    return lambda **config: serve_echo(engine, **config)


@pytest.fixture
async def api(engine):
    async with serve_echo(engine) as served:
        yield served
