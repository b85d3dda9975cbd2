"""``/v1/datasets``."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets import translate, wire
from trainbox_plugins.native.datasets.uploads import open_upload
from trainbox_plugins.native.replies import json_reply, page_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery, PageQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation


class Datasets:
    """Handlers for data."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of data."""
        return [
            Endpoint(
                "GET",
                "/v1/datasets",
                self.list,
                Operation(
                    "listDatasets",
                    "datasets",
                    "List datasets, newest first",
                    gives(PageOut[wire.DatasetOut]),
                    scope="read",
                    query=PageQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/datasets/{id}",
                self.show,
                Operation(
                    "getDataset",
                    "datasets",
                    "Show a dataset, by id or name",
                    gives(wire.DatasetOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/datasets",
                self.create,
                Operation(
                    "createDataset",
                    "datasets",
                    "Upload a dataset",
                    gives(wire.DatasetOut, status=201),
                    scope="submit",
                    query=wire.UploadQuery,
                    problems=(413, 415, 422),
                    body=(
                        Content(None, "text/csv"),
                        Content(None, "application/vnd.apache.parquet"),
                        Content(None, "multipart/form-data"),
                    ),
                ),
                max_body_bytes=None,
            ),
        ]

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/datasets``: the body is the data, or a form with one file."""
        asked = query(request, wire.UploadQuery)
        upload = await open_upload(request, asked, self._config.upload_idle_s)
        view = await self._engine.put_dataset(
            who, name=upload.name, format=upload.format, body=upload.body
        )
        headers = {"Location": f"/v1/datasets/{view.id}"}
        return json_reply(translate.dataset(view), status=201, headers=headers)

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets``."""
        asked = query(request, PageQuery)
        page = await self._engine.datasets(who, limit=asked.limit, after=asked.after)
        return page_reply(page, translate.dataset)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets/{id}``; a name gives the newest of that name."""
        query(request, NoQuery)
        view = await self._engine.dataset(who, request.match_info["id"])
        return json_reply(translate.dataset(view))
