"""Answers: JSON, pages, and files that know their digest."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from trainbox_sdk.artifacts import ArtifactFile
from trainbox_sdk.engine import Page
from trainbox_sdk.sound_json import json_bytes

T = TypeVar("T")

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")
_DECIDED_HERE = (
    hdrs.IF_MATCH,
    hdrs.IF_NONE_MATCH,
    hdrs.IF_MODIFIED_SINCE,
    hdrs.IF_UNMODIFIED_SINCE,
    hdrs.IF_RANGE,
    hdrs.ACCEPT_ENCODING,
)


def json_reply(
    document: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a JSON answer; times are RFC 3339, numbers JSON lacks become null."""
    return web.Response(
        status=status,
        body=json_bytes(document),
        content_type="application/json",
        headers=headers,
    )


def page_reply(page: Page[T], translate: Callable[[T], object]) -> web.Response:
    """Return one page: ``items``, and in ``next`` the cursor for ``?after=``."""
    return json_reply({"items": [translate(item) for item in page.items], "next": page.next})


def file_reply(request: web.Request, file: ArtifactFile, download_name: str) -> web.StreamResponse:
    """Return a file whose ETag is its digest, with ranges and conditions (RFC 9110 §13, §14).

    Raises:
        web.HTTPPreconditionFailed: 412, ``If-Match`` names another digest.
        web.HTTPRequestRangeNotSatisfiable: 416, the range begins after the file's end.
    """
    headers = _file_headers(file, download_name)
    etag = file.view.digest
    asked = request.if_match
    if asked is not None and not any(one.value in (etag, "*") for one in asked):
        raise web.HTTPPreconditionFailed(text=f"The file's ETag is {etag}.")
    known = request.if_none_match
    if known is not None and any(one.value in (etag, "*") for one in known):
        return web.Response(status=304, headers={hdrs.ETAG: headers[hdrs.ETAG]})
    _check_range(request, file.view.bytes, headers[hdrs.ETAG])
    return DigestFileResponse(file, headers)


def _check_range(request: web.Request, size: int, etag: str) -> None:
    """Refuse a range that the file lacks, which aiohttp would answer without a word.

    Raises:
        web.HTTPRequestRangeNotSatisfiable: 416 (RFC 9110 §15.5.17).
    """
    if request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return
    found = _one_range(request.headers)
    if found is not None and (int(found[1]) >= size if found[1] else int(found[2]) == 0):
        raise web.HTTPRequestRangeNotSatisfiable(
            text=f"The file has {size} bytes.", headers={hdrs.CONTENT_RANGE: f"bytes */{size}"}
        )


def _one_range(headers: Mapping[str, str]) -> re.Match[str] | None:
    """Return the range asked for; None where none is, or one to be ignored (RFC 9110 §14.2).

    Ignored are other units, several ranges and what is no range: the answer is the whole file.
    """
    found = _RANGE.fullmatch(headers.get(hdrs.RANGE, "").strip())
    if found is None or not (found[1] or found[2]):
        return None
    backwards = found[1] and found[2] and int(found[2]) < int(found[1])
    return None if backwards else found


class DigestFileResponse(web.FileResponse):
    """A file response with a content digest for an ETag, in place of time and size.

    aiohttp sets its own ETag and judges conditions by it; the file's name here is its hash, so
    conditions are decided before and taken out of what aiohttp sees.
    """

    def __init__(self, file: ArtifactFile, headers: Mapping[str, str]) -> None:
        super().__init__(file.path, headers=headers)
        self._digest_etag = headers[hdrs.ETAG]
        self.content_type = file.view.media_type

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Start the answer."""
        headers = request.headers.copy()
        if_range = headers.get(hdrs.IF_RANGE)
        changed = if_range is not None and if_range != self._digest_etag
        if changed or _one_range(headers) is None:
            headers.popall(hdrs.RANGE, None)
        for name in _DECIDED_HERE:
            headers.popall(name, None)
        return await super().prepare(request.clone(headers=headers))

    @property
    def etag(self) -> Any:
        """The digest."""
        return web.StreamResponse.etag.fget(self)  # type: ignore[attr-defined]

    @etag.setter
    def etag(self, value: object) -> None:
        """Keep the digest whatever the base class computes."""
        del value
        self.headers[hdrs.ETAG] = self._digest_etag


def _file_headers(file: ArtifactFile, download_name: str) -> dict[str, str]:
    digest = file.view.digest
    encoded = base64.b64encode(bytes.fromhex(digest.removeprefix("sha256:"))).decode()
    return {
        hdrs.ETAG: f'"{digest}"',
        hdrs.CACHE_CONTROL: "private, no-cache",
        hdrs.CONTENT_DISPOSITION: attachment(download_name),
        "Digest": f"sha-256={encoded}",
        "Repr-Digest": f"sha-256=:{encoded}:",
    }


def attachment(name: str) -> str:
    """Return ``attachment`` with the name in both forms of RFC 6266."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
