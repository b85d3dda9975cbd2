"""Uploads as a stream of bytes: a raw body, or one file part of a form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from trainbox_plugins.native.datasets.formats import FORMATS, MEDIA_TYPES, format_of
from trainbox_plugins.native.datasets.wire import Format, UploadQuery
from trainbox_plugins.native.errors import Malformed, UnsupportedMedia, UploadStalled
from trainbox_sdk.errors import FieldError, ValidationFailed

T = TypeVar("T")

MAX_PARTS = 8
MAX_FIELD_BYTES = 1024
CHUNK = 256 * 1024
FORM = "multipart/form-data"
BROKEN_FORM = (ValueError, AssertionError, HttpProcessingError)
"""What aiohttp's form reader raises over bytes that are no form."""


@dataclass(frozen=True)
class Upload:
    """A dataset on its way in: its name and format are known before its bytes."""

    name: str
    format: Format
    body: AsyncIterator[bytes]
    filename: str = ""


async def open_upload(request: web.Request, query: UploadQuery, idle_s: float) -> Upload:
    """Look at the header, and in a form at the parts before the file.

    Raises:
        UnsupportedMedia: neither the content type nor ``?format=`` says what it is.
        Malformed: a form without a file, or with too many parts.
        UploadStalled: nothing came for ``idle_s`` seconds; also from the body's iteration.
    """
    if request.content_type == FORM:
        return await _open_form(request, query, idle_s)
    format_ = query.format or MEDIA_TYPES.get(request.content_type)
    if format_ is None:
        raise UnsupportedMedia(
            f"The content type {request.content_type[:100]!r} does not say what the data is.",
            hint="Send 'Content-Type: text/csv' or 'application/vnd.apache.parquet', or add "
            f"?format=csv ({', '.join(FORMATS)} are known).",
        )
    return Upload(query.name or "dataset", format_, raw_body(request, idle_s))


async def raw_body(request: web.Request, idle_s: float) -> AsyncIterator[bytes]:
    """Iterate a body as it comes.

    Raises:
        UploadStalled: nothing came for ``idle_s`` seconds.
    """
    while chunk := await _patiently(request.content.readany(), idle_s):
        yield chunk


async def _open_form(request: web.Request, query: UploadQuery, idle_s: float) -> Upload:
    form = _Form(await _reader(request), idle_s)
    fields = {"name": query.name, "format": query.format or ""}
    while (part := await form.next()) is not None:
        if part.name == "file" or part.filename is not None:
            return _form_upload(fields, part, form)
        if part.name not in fields:
            raise ValidationFailed(
                f"The form has a part named {part.name!r}.",
                errors=[FieldError(("form", part.name or ""), "unknown part")],
                hint="Send 'name' and 'format' first, then 'file'.",
            )
        fields[part.name] = await form.text(part)
    raise Malformed("The form has no file part.", hint="Send the data in a part named 'file'.")


def _form_upload(fields: dict[str, str], part: aiohttp.BodyPartReader, form: _Form) -> Upload:
    filename = PurePosixPath((part.filename or "").replace("\\", "/")).name
    name = fields["name"] or filename or "dataset"
    format_ = _form_format(fields["format"], part, filename)
    return Upload(name, format_, form.file(part), filename)


def _form_format(given: str, part: aiohttp.BodyPartReader, filename: str) -> Format:
    if given:
        known = next((each for each in FORMATS if each == given), None)
        if known is not None:
            return known
        problem = FieldError(
            ("form", "format"), f"{given[:40]!r} is unknown", f"one of {', '.join(FORMATS)}"
        )
        raise ValidationFailed("The form's format is unknown.", errors=[problem])
    media_type = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    found = MEDIA_TYPES.get(media_type) or format_of(filename)
    if found is None:
        raise UnsupportedMedia(
            "Neither the file part's content type nor its name says what the data is.",
            hint=f"Add a part 'format' ({', '.join(FORMATS)}) before the file.",
        )
    return found


class _Form:
    """A form read part by part, with a cap on parts and on the size of fields."""

    def __init__(self, reader: aiohttp.MultipartReader, idle_s: float) -> None:
        self._reader = reader
        self._idle_s = idle_s
        self._parts = 0

    async def next(self) -> aiohttp.BodyPartReader | None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Malformed(f"The form has more than {MAX_PARTS} parts.")
        part = await self._read(self._reader.next())
        if isinstance(part, aiohttp.MultipartReader):
            raise Malformed("The form has a form within it.")
        return part

    async def text(self, part: aiohttp.BodyPartReader) -> str:
        data = b""
        while chunk := await self._read(part.read_chunk(MAX_FIELD_BYTES)):
            data += chunk
            if len(data) > MAX_FIELD_BYTES:
                raise Malformed(f"The form's part {part.name!r} is over {MAX_FIELD_BYTES} bytes.")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Malformed(f"The form's part {part.name!r} is not UTF-8.") from None

    async def file(self, part: aiohttp.BodyPartReader) -> AsyncIterator[bytes]:
        """Iterate the file; raises at its end if the form goes on with another part."""
        while chunk := await self._read(part.read_chunk(CHUNK)):
            yield chunk
        if await self.next() is not None:
            raise Malformed(
                "The form goes on after its file.", hint="Send the file last and alone."
            )

    async def _read(self, reading: Awaitable[T]) -> T:
        try:
            return await _patiently(reading, self._idle_s)
        except BROKEN_FORM as error:
            raise Malformed(f"The form is malformed: {_one_line(error)}.") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or "it cannot be read"


async def _reader(request: web.Request) -> aiohttp.MultipartReader:
    try:
        return await request.multipart()
    except BROKEN_FORM as error:
        raise Malformed(f"The form is malformed: {_one_line(error)}.") from error


async def _patiently(reading: Awaitable[T], idle_s: float) -> T:
    try:
        async with asyncio.timeout(idle_s):
            return await reading
    except TimeoutError:
        raise UploadStalled(f"Nothing of the upload came for {idle_s:g} s.") from None
