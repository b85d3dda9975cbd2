"""A surface with one route of each class of work, for tests of who is let in."""

import asyncio

from aiohttp import web

from trainbox_sdk.operations import Operation, Reply
from trainbox_sdk.surfaces import Route, Surface


def operation(name, scope="read"):
    return Operation(name, "doors", name, {200: Reply("fine")}, scope=scope)


class Doors(Surface):
    """Asks the engine who comes, on every route."""

    name = "doors"
    prefixes = ("/doors",)

    def __init__(self, file=None):
        self.file = file
        self.inside = asyncio.Semaphore(0)
        self.go = asyncio.Event()

    def routes(self, engine):
        self.engine = engine
        return [
            Route("GET", "/doors", self.enter, operation=operation("read")),
            Route("POST", "/doors", self.enter, 1000, operation("change", "submit")),
            Route("POST", "/doors/stream", self.upload, None, operation("upload", "submit")),
            Route("POST", "/doors/predict", self.enter, 1000, operation("predict", "predict")),
            Route("GET", "/doors/wait", self.wait, operation=operation("wait")),
            Route("GET", "/doors/for-ever", self.for_ever, operation=operation("forEver")),
            Route("GET", "/doors/lots", self.lots, operation=operation("lots")),
            Route("GET", "/doors/file", self.send_file, operation=operation("file")),
        ]

    def error_response(self, error, request):
        retry = getattr(error, "retry_after_s", None)
        status = {"RateLimited": 429, "Unauthenticated": 401, "Unavailable": 503}.get(
            type(error).__name__, error.status if isinstance(error, web.HTTPException) else 500
        )
        headers = {"Retry-After": str(retry)} if retry else {}
        return web.Response(status=status, text=f"{error}", headers=headers)

    async def _who(self, request):
        return await self.engine.authenticate(request.headers["Authorization"].split()[1])

    async def enter(self, request):
        who = await self._who(request)
        return web.Response(text=who.id)

    async def upload(self, request):
        await self._who(request)
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.Response(text=str(size))

    async def wait(self, request):
        self.inside.release()
        await self.go.wait()
        return web.Response(text="done")

    async def for_ever(self, request):
        await self._who(request)
        response = web.StreamResponse()
        await response.prepare(request)
        self.inside.release()
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    async def lots(self, request):
        return web.Response(body=bytes(64 * 1024 * 1024))

    async def send_file(self, request):
        return web.FileResponse(self.file)
