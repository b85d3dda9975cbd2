"""Sends a laid-out archive, or a range of it, without ever having it in one place."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from aiohttp import hdrs, web

from trainbox_sdk.models import ArchivePart, ModelArchive

CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


async def archive_reply(request: web.Request, archive: ModelArchive) -> web.StreamResponse:
    """Send an archive with a single range and conditions (RFC 9110 §13, §14).

    Several ranges at once are answered with the whole, as §14.2 allows.

    Raises:
        web.HTTPPreconditionFailed: 412, ``If-Match`` names another archive.
        web.HTTPRequestRangeNotSatisfiable: 416, with the size.
    """
    asked, known = request.if_match, request.if_none_match
    if asked is not None and not any(one.value in (archive.etag, "*") for one in asked):
        raise web.HTTPPreconditionFailed(text=f"The archive's ETag is {archive.etag}.")
    if known is not None and any(one.value in (archive.etag, "*") for one in known):
        return web.Response(status=304, headers={hdrs.ETAG: f'"{archive.etag}"'})
    wanted = _wanted(request, archive)
    start, stop = wanted or (0, archive.bytes)
    response = web.StreamResponse(status=206 if wanted else 200, headers=_headers(archive))
    response.content_type = "application/x-tar"
    response.content_length = stop - start
    if wanted:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{archive.bytes}"
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        async for chunk in _read(archive, start, stop):
            await response.write(chunk)
    await response.write_eof()
    return response


def _headers(archive: ModelArchive) -> dict[str, str]:
    return {
        hdrs.ETAG: f'"{archive.etag}"',
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: "private, no-cache",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{archive.name}"',
    }


def _wanted(request: web.Request, archive: ModelArchive) -> tuple[int, int] | None:
    """Return first byte and end of the range asked for; None for the whole."""
    if_range = request.headers.get(hdrs.IF_RANGE)
    if if_range is not None and if_range != f'"{archive.etag}"':
        return None
    found = _RANGE.fullmatch(request.headers.get(hdrs.RANGE, "").strip())
    if found is None or found[0] == "bytes=-":
        return None
    first, last, size = found[1], found[2], archive.bytes
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise web.HTTPRequestRangeNotSatisfiable(
            headers={hdrs.CONTENT_RANGE: f"bytes */{size}"},
            text=f"The archive has {size} bytes.",
        )
    return start, stop


def _pieces(archive: ModelArchive, start: int, stop: int) -> Iterator[tuple[ArchivePart, int, int]]:
    """Return the parts a range touches, each with its own first byte and end."""
    at = 0
    for part in archive.parts:
        first, end = max(start - at, 0), min(stop - at, part.size)
        if first < end:
            yield part, first, end
        at += part.size


async def _read(archive: ModelArchive, start: int, stop: int) -> AsyncIterator[bytes]:
    for part, first, end in _pieces(archive, start, stop):
        if part.path is None:
            yield part.data[first:end]
            continue
        async for chunk in _read_file(part.path, first, end):
            yield chunk


async def _read_file(path: Path, first: int, end: int) -> AsyncIterator[bytes]:
    file: BinaryIO = await asyncio.to_thread(path.open, "rb")
    with file:
        await asyncio.to_thread(file.seek, first)
        while first < end:
            chunk = await asyncio.to_thread(file.read, min(CHUNK, end - first))
            if not chunk:
                raise OSError(f"{path} is shorter than its row says")
            first += len(chunk)
            yield chunk
