"""``POST /v1/datasets`` and ``/v1/datasets/import``: data in one request, or from the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from aiohttp import hdrs, web

from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets import translate, wire
from trainbox_plugins.native.datasets.formats import MEDIA_TYPES, format_of, unknown_format
from trainbox_plugins.native.datasets.uploads import open_upload
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import idempotency_key, json_body, query
from trainbox_plugins.native.table import IDEMPOTENCY_KEY, Endpoint
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import ValidationFailed
from trainbox_sdk.operations import JSON, Content, Operation, Reply
from trainbox_sdk.spreadsheets import faults_csv
from trainbox_sdk.uploads import FiledDataset, NewDataset

CSV = "text/csv"
_DATASET = (Content(wire.DatasetOut),)
REPLIES = {
    201: Reply("A new version of that name.", _DATASET, {"Location": "Where it is."}),
    200: Reply(
        "The newest version of that name has these bytes, or the key came before: none was made.",
        _DATASET,
        {"Location": "Where it is.", "Dataset-Replayed": "`true`."},
    ),
}


class Intake:
    """Handlers that make a dataset in one request."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the two routes."""
        media = (*dict.fromkeys(MEDIA_TYPES), "multipart/form-data", "application/octet-stream")
        return [
            Endpoint(
                "POST",
                "/v1/datasets",
                self.create,
                Operation(
                    "createDataset",
                    "datasets",
                    "Upload a dataset",
                    REPLIES,
                    scope="submit",
                    query=wire.UploadQuery,
                    headers=(IDEMPOTENCY_KEY,),
                    problems=(400, 408, 409, 413, 415, 422, 503, 507),
                    body=tuple(Content(None, each) for each in media),
                    description="Faults of the data come in the problem's `faults`, or as CSV "
                    "with `Accept: text/csv`.",
                ),
                max_body_bytes=None,
            ),
            Endpoint(
                "POST",
                "/v1/datasets/import",
                self.load,
                Operation(
                    "importDataset",
                    "datasets",
                    "Make a dataset of a file on the daemon's machine, under an allowed folder",
                    REPLIES,
                    scope="submit",
                    query=NoQuery,
                    headers=(IDEMPOTENCY_KEY,),
                    problems=(400, 403, 409, 413, 422, 503, 507),
                    body=(Content(wire.ImportBody, JSON),),
                ),
            ),
        ]

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/datasets``: the body is the data, or a form with one file."""
        asked = query(request, wire.UploadQuery)
        key = idempotency_key(request)
        upload = await open_upload(request, asked, self._config.upload_idle_s)
        spec = NewDataset(
            name=upload.name,
            format=upload.format,
            filename=upload.filename,
            description=asked.description,
            labels=asked.labels or {},
            types=asked.types or {},
            idempotency_key=key,
        )
        try:
            filed = await self._engine.put_dataset(who, spec, upload.body)
        except ValidationFailed as error:
            if error.faults and wants_csv(request):
                return _faults_reply(request, error)
            raise
        return _filed_reply(filed)

    async def load(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/datasets/import``."""
        query(request, NoQuery)
        body = await json_body(request, wire.ImportBody)
        filename = PurePosixPath(body.path).name
        format_ = body.format or format_of(filename)
        if format_ is None:
            raise unknown_format(("format",), f"The file's name {filename[:100]!r}")
        spec = NewDataset(
            name=body.name or filename,
            format=format_,
            filename=filename,
            description=body.description,
            labels=body.labels,
            types=body.types,
            idempotency_key=idempotency_key(request),
        )
        return _filed_reply(await self._engine.import_dataset(who, spec, body.path))


def wants_csv(request: web.Request) -> bool:
    """Return whether the caller names CSV among what it takes."""
    return CSV in request.headers.get(hdrs.ACCEPT, "").lower()


def csv_reply(text: str, *, status: int = 200) -> web.Response:
    """Return a small table as CSV."""
    return web.Response(status=status, text=text, content_type=CSV, charset="utf-8")


def _faults_reply(request: web.Request, error: ValidationFailed) -> web.Response:
    response = csv_reply(faults_csv(error.faults), status=422)
    if not request.content.is_eof():
        response.force_close()
    return response


def _filed_reply(filed: FiledDataset) -> web.Response:
    headers = {"Location": f"/v1/datasets/{filed.dataset.id}"}
    if filed.replayed:
        headers["Dataset-Replayed"] = "true"
    document = translate.dataset(filed.dataset)
    return json_reply(document, status=200 if filed.replayed else 201, headers=headers)
