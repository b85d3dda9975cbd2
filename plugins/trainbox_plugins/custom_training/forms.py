"""Forms with one file: fields and file in any order, the file never whole in memory.

Clients send the file first as often as last. When all fields have come before it, its bytes are
handed on as they arrive; otherwise they wait in an unnamed temporary file.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from trainbox_plugins.custom_training.errors import Malformed, Stalled, refused
from trainbox_sdk.errors import StorageFull, TooLarge

T = TypeVar("T")

MAX_PARTS = 8
MAX_FIELD_BYTES = 16 * 1024
MAX_OVERHEAD_BYTES = 256 * 1024
"""What a form may have beside its file."""
CHUNK = 256 * 1024
FORM = "multipart/form-data"
BROKEN = (ValueError, AssertionError, HttpProcessingError)
"""What aiohttp's form reader raises over bytes that are no form."""


@dataclass(frozen=True)
class Limits:
    """How much a form may have.

    Attributes:
        idle_s: seconds it may stand still.
        spool_dir: where a file waits for its fields.
    """

    max_file_bytes: int
    idle_s: float
    spool_dir: Path | None


@dataclass(frozen=True)
class Form:
    """Fields, and the file's bytes; its name is what the file's part says."""

    fields: dict[str, str]
    filename: str
    media_type: str
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def open_form(
    request: web.Request, names: Sequence[str], limits: Limits
) -> AsyncIterator[Form]:
    """Read a form with a part ``file`` and the fields of these names.

    Raises:
        PreciseFailure: no form, no file, or a field that is not known.
        TooLarge: the file, as the header says or as it turns out while it comes.
        Malformed: bytes that are no form.
        Stalled: nothing came for too long.
        StorageFull: no room for a file that waits for its fields.
    """
    length = request.content_length
    if length is not None and length > limits.max_file_bytes + MAX_OVERHEAD_BYTES:
        raise _too_large(limits)
    if request.content_type != FORM:
        raise refused("body", msg=f"send a form: Content-Type {FORM}", kind="form_type")
    reader = _Reader(await _multipart(request), names, limits)
    file = await reader.until_file()
    named = file.filename or ""
    media_type = file.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if all(name in reader.fields for name in names):
        yield Form(reader.fields, named, media_type, reader.direct(file))
        return
    with _new_spool(limits) as spool:
        await reader.spool(file, spool)
        yield Form(reader.fields, named, media_type, _read_back(spool))


class _Reader:
    def __init__(self, form: aiohttp.MultipartReader, names: Sequence[str], limits: Limits) -> None:
        self._form = form
        self._names = names
        self._limits = limits
        self._parts = 0
        self.fields: dict[str, str] = {}

    async def until_file(self) -> aiohttp.BodyPartReader:
        """Read fields up to the file."""
        while (part := await self._next()) is not None:
            if part.name == "file":
                return part
            await self._field(part)
        raise refused("body", "file", msg="Field required", kind="missing")

    async def direct(self, file: aiohttp.BodyPartReader) -> AsyncIterator[bytes]:
        """Iterate the file, which must be the last part."""
        async for chunk in self._chunks(file):
            yield chunk
        await self._rest()

    async def spool(self, file: aiohttp.BodyPartReader, spool: IO[bytes]) -> None:
        """Put the file aside and read the fields behind it."""
        try:
            async for chunk in self._chunks(file):
                await asyncio.to_thread(spool.write, chunk)
            await asyncio.to_thread(spool.seek, 0)
        except OSError as error:
            raise _no_room(error) from error
        await self._rest()

    async def _rest(self) -> None:
        while (part := await self._next()) is not None:
            await self._field(part)

    async def _chunks(self, file: aiohttp.BodyPartReader) -> AsyncIterator[bytes]:
        size = 0
        while chunk := await self._read(file.read_chunk(CHUNK)):
            size += len(chunk)
            if size > self._limits.max_file_bytes:
                raise _too_large(self._limits)
            yield chunk

    async def _field(self, part: aiohttp.BodyPartReader) -> None:
        name = part.name or ""
        if name not in self._names or name in self.fields:
            known = ", ".join(["file", *self._names])
            raise refused(
                "body",
                name,
                msg=f"unknown, or there twice; known are {known}",
                kind="extra_forbidden",
            )
        data = b""
        while chunk := await self._read(part.read_chunk(MAX_FIELD_BYTES)):
            data += chunk
            if len(data) > MAX_FIELD_BYTES:
                raise refused("body", name, msg=f"is over {MAX_FIELD_BYTES} bytes", kind="too_long")
        try:
            self.fields[name] = data.decode()
        except UnicodeDecodeError:
            raise refused("body", name, msg="is not UTF-8", kind="string_unicode") from None

    async def _next(self) -> aiohttp.BodyPartReader | None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Malformed(f"The form has more than {MAX_PARTS} parts.")
        part = await self._read(self._form.next())
        if isinstance(part, aiohttp.MultipartReader):
            raise Malformed("The form has a form within it.")
        return part

    async def _read(self, reading: Awaitable[T]) -> T:
        try:
            return await patiently(reading, self._limits.idle_s)
        except BROKEN as error:
            raise Malformed(f"The form is malformed: {_one_line(error)}.") from error


async def raw_body(request: web.Request, limits: Limits) -> AsyncIterator[bytes]:
    """Iterate a body that is no form.

    Raises:
        TooLarge: as :func:`open_form`.
        Stalled: likewise.
    """
    size = 0
    while chunk := await patiently(request.content.readany(), limits.idle_s):
        size += len(chunk)
        if size > limits.max_file_bytes:
            raise _too_large(limits)
        yield chunk


async def patiently(reading: Awaitable[T], idle_s: float) -> T:
    """Wait for the next bytes, but not for longer.

    Raises:
        Stalled: they did not come.
    """
    try:
        async with asyncio.timeout(idle_s):
            return await reading
    except TimeoutError:
        raise Stalled(f"Nothing of the upload came for {idle_s:g} s.") from None


async def _multipart(request: web.Request) -> aiohttp.MultipartReader:
    try:
        return await request.multipart()
    except BROKEN as error:
        raise Malformed(f"The form is malformed: {_one_line(error)}.") from error


async def _read_back(spool: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(spool.read, CHUNK):
        yield chunk


def _new_spool(limits: Limits) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=limits.spool_dir)
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> StorageFull:
    return StorageFull(
        f"The file cannot be put aside: {error.strerror}.",
        hint="send the other fields before the file, or have spool_dir set",
    )


def _too_large(limits: Limits) -> TooLarge:
    return TooLarge(f"The file is larger than {limits.max_file_bytes} bytes.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or "it cannot be read"
