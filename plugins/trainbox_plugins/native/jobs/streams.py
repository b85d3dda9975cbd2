"""Streams that may last for hours: server-sent events (WHATWG HTML §9.2), JSON lines, logs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Generic, TypeVar

from aiohttp import hdrs, web

from trainbox_plugins.native.config import Config
from trainbox_plugins.native.jobs import translate
from trainbox_plugins.native.jobs.wire import EventsQuery
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.jobs import JobEvent
from trainbox_sdk.sound_json import json_bytes

T = TypeVar("T")

SSE = "text/event-stream"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
RECONNECT_MS = 1000
FIRST_LOOK_S = 0.2
HEARTBEAT = b": still here\n\n"


def event_format(request: web.BaseRequest, query: EventsQuery) -> str:
    """Return how events are to be written: as ``Accept`` asks, else SSE while following."""
    accept = request.headers.get(hdrs.ACCEPT, "")
    for media_type in (SSE, JSON_LINES, JSON):
        if media_type in accept:
            return media_type
    return JSON_LINES if query.follow is False else SSE


def event_position(request: web.BaseRequest, query: EventsQuery) -> int:
    """Return after which event to go on: the reconnecting browser's header wins over the URL.

    Raises:
        ValidationFailed: a ``Last-Event-ID`` that is not one of ours.
    """
    last = request.headers.get("Last-Event-ID")
    if last is None or last == "":
        return query.after
    if not (last.isascii() and last.isdigit() and len(last) <= 18):  # noqa: PLR2004 - fits int64
        where = FieldError(("header", "Last-Event-ID"), f"{last[:40]!r} is not an event id")
        raise ValidationFailed("The Last-Event-ID is not one of ours.", errors=[where])
    return int(last)


def as_sse(event: JobEvent) -> bytes:
    """Return one event as a server-sent event; JSON has no raw line break, so one line."""
    data = json_bytes(translate.event(event))
    kind = "".join(c for c in event.kind if c.isalnum() or c in "_-.")
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, kind.encode(), data)


def as_line(event: JobEvent) -> bytes:
    """Return one event as a line of JSON."""
    return json_bytes(translate.event(event)) + b"\n"


async def events_as_array(events: AsyncIterator[JobEvent]) -> bytes:
    """Return what there is as one JSON array."""
    lines = [as_line(event).rstrip(b"\n") async for event in events]
    return b"[" + b",".join(lines) + b"]"


class Streamer:
    """Writes one stream and survives silence, slow readers and lost ones."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def send(
        self,
        request: web.Request,
        items: AsyncIterator[T],
        write_as: Callable[[T], bytes],
        media_type: str,
    ) -> web.StreamResponse:
        """Write items as they come; ends with them.

        The header goes out after a short first look, so that an error of the first step is still
        answered as one, and a reconnecting reader for whom nothing is left gets 204, which tells
        a browser to stop asking.
        """
        source = _Ahead(items)
        try:
            waiting = not await source.ready(FIRST_LOOK_S)
            if not waiting and source.ended() and "Last-Event-ID" in request.headers:
                return web.Response(status=204)
            response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: media_type})
            response.headers["X-Accel-Buffering"] = "no"
            with contextlib.suppress(ConnectionError):  # the reader went away; so do we
                await response.prepare(request)
                await self._copy(request, response, source, write_as)
                await response.write_eof()
        finally:
            await source.close()
        return response

    async def _copy(
        self,
        request: web.Request,
        response: web.StreamResponse,
        source: _Ahead[T],
        write_as: Callable[[T], bytes],
    ) -> None:
        beats = response.content_type == SSE
        if beats:
            await self._write(request, response, b"retry: %d\n\n" % RECONNECT_MS)
        while True:
            if not await source.ready(self._config.heartbeat_s):
                if beats:
                    await self._write(request, response, HEARTBEAT)
            elif source.ended():
                return
            else:
                await self._write(request, response, write_as(source.take()))

    async def _write(self, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._config.stalled_reader_s):
                await response.write(data)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the stream's reader takes nothing") from None


class _Ahead(Generic[T]):
    """An iterator whose next step runs on while its reader does something else."""

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._step: asyncio.Task[T] | None = None

    async def ready(self, within_s: float) -> bool:
        """Wait for the next step, but not for longer; its error comes from here."""
        if self._step is None:
            self._step = asyncio.ensure_future(_next(self._items))
        done, _ = await asyncio.wait({self._step}, timeout=within_s)
        if done and (error := self._step.exception()) and not isinstance(error, _Ended):
            raise error
        return bool(done)

    def ended(self) -> bool:
        """Whether the step that is ready was the end."""
        return self._step is not None and isinstance(self._step.exception(), _Ended)

    def take(self) -> T:
        """Return the item that is ready."""
        assert self._step is not None
        item, self._step = self._step.result(), None
        return item

    async def close(self) -> None:
        """Give the iterator up."""
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})
            if not self._step.cancelled():
                self._step.exception()
        if isinstance(self._items, AsyncGenerator):
            await self._items.aclose()


class _Ended(Exception):
    """The end of an iterator; a task cannot carry StopAsyncIteration itself."""


async def _next(items: AsyncIterator[T]) -> T:
    try:
        return await anext(items)
    except StopAsyncIteration:
        raise _Ended from None
