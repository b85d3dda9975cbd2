"""``/v1/uploads``: resumable uploads as tus 1.0.0 has them (https://tus.io/protocols).

Core, and the extensions creation, termination and expiration. Beside tus, ``GET`` says in JSON
what became of an upload: the answer to the last byte is 204 whatever the data is worth, since the
bytes did arrive; it waits a little for the data to be read and then names the dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import format_datetime
from functools import wraps
from typing import Annotated, Literal

from aiohttp import hdrs, web
from pydantic import Field

from trainbox_plugins.native import errors
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets import translate, wire
from trainbox_plugins.native.datasets.intake import csv_reply
from trainbox_plugins.native.datasets.tus_headers import number, spec_of
from trainbox_plugins.native.datasets.uploads import raw_body
from trainbox_plugins.native.errors import UnknownTusVersion, UnsupportedMedia
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import Endpoint, KnownHandler, gives
from trainbox_plugins.native.wire import INT64, NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import TrainboxError
from trainbox_sdk.operations import Content, Header, Operation, Reply
from trainbox_sdk.spreadsheets import faults_csv
from trainbox_sdk.uploads import UploadView

TAG = "uploads"
VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
OFFSET_MEDIA = "application/offset+octet-stream"
Size = Annotated[int, Field(ge=0, le=INT64)]

RESUMABLE = {"Tus-Resumable": VERSION}
_VERSION_HEADER = Header("Tus-Resumable", f"`{VERSION}`.", Literal["1.0.0"], required=True)
_TUS = {"Tus-Resumable": f"`{VERSION}`."}
_EXPIRES = {"Upload-Expires": "When it is forgotten unless something comes before."}
_STATE = {
    "Upload-State": "`receiving`, `ingesting`, `done` or `failed`.",
    "Trainbox-Dataset": "Id of the dataset, once `done`.",
}


class ResumableUploads:
    """Handlers of resumable uploads."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of resumable uploads."""
        return [*self._announcing(), *self._sending(), *self._asking()]

    def _announcing(self) -> list[Endpoint]:
        return [
            Endpoint(
                "OPTIONS",
                "/v1/uploads",
                self.options,
                Operation(
                    "describeUploads",
                    TAG,
                    "Say which tus this is",
                    {
                        204: Reply(
                            "As asked.",
                            headers={
                                **_TUS,
                                "Tus-Version": "Versions.",
                                "Tus-Extension": "Extensions.",
                                "Tus-Max-Size": "Largest upload in bytes.",
                            },
                        )
                    },
                    scope="submit",
                    query=NoQuery,
                ),
            ),
            Endpoint(
                "POST",
                "/v1/uploads",
                _tus(self.create),
                Operation(
                    "createUpload",
                    TAG,
                    "Announce a resumable upload",
                    {
                        201: Reply(
                            "Send the bytes to Location.",
                            headers={**_TUS, **_EXPIRES, "Location": "Where."},
                        )
                    },
                    scope="submit",
                    query=NoQuery,
                    headers=(
                        _VERSION_HEADER,
                        Header("Upload-Length", "Bytes in all.", Size, required=True),
                        Header(
                            "Upload-Metadata",
                            "`name`, `filename`, `format`, `filetype`, `description` and `types` "
                            "(a JSON object) in base64, as tus has it.",
                        ),
                    ),
                    problems=(412, 413, 422, 507),
                ),
            ),
        ]

    def _sending(self) -> list[Endpoint]:
        return [
            Endpoint(
                "HEAD",
                "/v1/uploads/{id}",
                _tus(self.offset),
                Operation(
                    "getUploadOffset",
                    TAG,
                    "Say where a resumable upload stands",
                    {
                        200: Reply(
                            "Go on from Upload-Offset.",
                            headers={
                                **_TUS,
                                **_EXPIRES,
                                **_STATE,
                                "Upload-Offset": "Bytes that are on the disk.",
                                "Upload-Length": "Bytes in all.",
                            },
                        )
                    },
                    scope="submit",
                    query=NoQuery,
                    headers=(_VERSION_HEADER,),
                    problems=(404, 412),
                ),
            ),
            Endpoint(
                "PATCH",
                "/v1/uploads/{id}",
                _tus(self.append),
                Operation(
                    "appendUpload",
                    TAG,
                    "Send bytes of a resumable upload",
                    {
                        204: Reply(
                            "They are on the disk.",
                            headers={**_TUS, **_EXPIRES, **_STATE, "Upload-Offset": "Go on here."},
                        )
                    },
                    scope="submit",
                    query=NoQuery,
                    headers=(
                        _VERSION_HEADER,
                        Header("Upload-Offset", "Where these bytes belong.", Size, required=True),
                    ),
                    problems=(404, 408, 409, 412, 413, 415, 422, 507),
                    body=(Content(None, OFFSET_MEDIA),),
                    body_required=False,
                ),
                max_body_bytes=None,
            ),
            Endpoint(
                "DELETE",
                "/v1/uploads/{id}",
                _tus(self.terminate),
                Operation(
                    "terminateUpload",
                    TAG,
                    "Forget a resumable upload; a dataset made of it stays",
                    {204: Reply("It is gone.", headers=_TUS)},
                    scope="submit",
                    query=NoQuery,
                    headers=(_VERSION_HEADER,),
                    problems=(404, 409, 412),
                ),
            ),
        ]

    def _asking(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/uploads/{id}",
                self.show,
                Operation(
                    "getUpload",
                    TAG,
                    "Say what became of a resumable upload",
                    gives(wire.UploadOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/uploads/{id}/faults",
                self.faults,
                Operation(
                    "getUploadFaults",
                    TAG,
                    "List what is wrong with uploaded data, as CSV",
                    {
                        200: Reply(
                            "One line each, none if all is well.", (Content(None, "text/csv"),)
                        )
                    },
                    scope="submit",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
        ]

    async def options(self, request: web.Request, _who: Principal) -> web.StreamResponse:
        """``OPTIONS /v1/uploads``."""
        query(request, NoQuery)
        headers = {
            **RESUMABLE,
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(self._engine.max_upload_bytes()),
        }
        return web.Response(status=204, headers=headers)

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/uploads``."""
        query(request, NoQuery)
        size = number(request, "Upload-Length")
        header = request.headers.get("Upload-Metadata", "")
        upload = await self._engine.create_upload(
            who, spec_of(header), size=size, metadata_header=header
        )
        headers = {"Location": f"/v1/uploads/{upload.id}", **_expiry(upload)}
        return web.Response(status=201, headers=headers)

    async def offset(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``HEAD /v1/uploads/{id}``."""
        query(request, NoQuery)
        upload = await self._engine.upload(who, request.match_info["id"], settle=True)
        headers = {"Upload-Length": str(upload.bytes), hdrs.CACHE_CONTROL: "no-store"}
        if upload.metadata_header:
            headers["Upload-Metadata"] = upload.metadata_header
        return web.Response(headers={**headers, **_standing(upload)})

    async def append(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``PATCH /v1/uploads/{id}``."""
        query(request, NoQuery)
        if request.content_type != OFFSET_MEDIA:
            raise UnsupportedMedia(
                f"This route reads {OFFSET_MEDIA}.", hint=f"Send 'Content-Type: {OFFSET_MEDIA}'."
            )
        offset = number(request, "Upload-Offset")
        body = raw_body(request, self._config.upload_idle_s)
        upload = await self._engine.append_upload(who, request.match_info["id"], offset, body)
        return web.Response(status=204, headers=_standing(upload))

    async def terminate(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/uploads/{id}``."""
        query(request, NoQuery)
        await self._engine.terminate_upload(who, request.match_info["id"])
        return web.Response(status=204)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/uploads/{id}``."""
        query(request, NoQuery)
        upload = await self._engine.upload(who, request.match_info["id"])
        return json_reply(translate.upload(upload))

    async def faults(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/uploads/{id}/faults``."""
        query(request, NoQuery)
        upload = await self._engine.upload(who, request.match_info["id"])
        return csv_reply(faults_csv(upload.failure.faults if upload.failure else ()))


def _tus(handler: KnownHandler) -> KnownHandler:
    """Return a handler that speaks one version of tus, also in its errors."""

    @wraps(handler)
    async def call(request: web.Request, who: Principal) -> web.StreamResponse:
        try:
            if request.headers.get("Tus-Resumable") != VERSION:
                raise UnknownTusVersion(
                    "The header Tus-Resumable does not name a version spoken here.",
                    hint=f"Send 'Tus-Resumable: {VERSION}'.",
                )
            response = await handler(request, who)
        except TrainboxError as error:
            response = errors.respond(error, request)
            if isinstance(error, UnknownTusVersion):
                response.headers["Tus-Version"] = VERSION
            if not request.content.is_eof():
                # The rest of the body is not read; the client must not reuse this connection.
                response.force_close()
        response.headers.update(RESUMABLE)
        return response

    return call


def _expiry(upload: UploadView) -> dict[str, str]:
    return {"Upload-Expires": format_datetime(upload.expires_at, usegmt=True)}


def _standing(upload: UploadView) -> dict[str, str]:
    headers = {"Upload-Offset": str(upload.received), "Upload-State": upload.state}
    if upload.dataset_id is not None:
        headers["Trainbox-Dataset"] = upload.dataset_id
    return headers | _expiry(upload)
