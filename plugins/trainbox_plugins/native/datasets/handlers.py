"""``/v1/datasets``: what is there, and what people do with it. Uploads are in ``intake``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from aiohttp import hdrs, web

from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets import translate, wire
from trainbox_plugins.native.datasets.intake import Intake
from trainbox_plugins.native.datasets.tus import ResumableUploads
from trainbox_plugins.native.replies import attachment, file_reply, json_reply, page_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import FILE_REPLIES, Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import JSON, Content, Operation, Reply
from trainbox_sdk.uploads import DatasetFilter

TAG = "datasets"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
CONTENT_REPLIES = {
    **FILE_REPLIES,
    200: Reply(
        "The Parquet file, or all rows as CSV.",
        (Content(None, PARQUET), Content(None, CSV)),
        FILE_REPLIES[200].headers,
    ),
}


class Datasets:
    """Handlers for data."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._parts = (Intake(engine, config), ResumableUploads(engine, config))

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of data."""
        others = [each for part in self._parts for each in part.endpoints()]
        return [*others, *self._looking(), *self._contents(), *self._changing()]

    def _looking(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/datasets",
                self.list,
                Operation(
                    "listDatasets",
                    TAG,
                    "List datasets",
                    gives(PageOut[wire.DatasetOut]),
                    scope="read",
                    query=wire.DatasetsQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/datasets/{id}",
                self.show,
                Operation(
                    "getDataset",
                    TAG,
                    "Show a dataset, by id, name or name:version",
                    gives(wire.DatasetOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/datasets/{id}/versions",
                self.versions,
                Operation(
                    "listDatasetVersions",
                    TAG,
                    "List all versions of a dataset's name, also those thrown away",
                    gives(wire.VersionsOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
        ]

    def _contents(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/datasets/{id}/profile",
                self.profile,
                Operation(
                    "getDatasetProfile",
                    TAG,
                    "Say what reading a dataset found out, and which columns leak a target",
                    gives(wire.ProfileOut),
                    scope="read",
                    query=wire.ProfileQuery,
                    problems=(404, 503, 507),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/datasets/{id}/preview",
                self.preview,
                Operation(
                    "previewDataset",
                    TAG,
                    "Show the first rows of a dataset",
                    gives(wire.PreviewOut),
                    scope="read",
                    query=wire.PreviewQuery,
                    problems=(404, 503),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/datasets/{id}/content",
                self.content,
                Operation(
                    "getDatasetContent",
                    TAG,
                    "Download a dataset as Parquet (with ranges) or as CSV",
                    CONTENT_REPLIES,
                    scope="read",
                    query=wire.ContentQuery,
                    problems=(404, 412, 416, 503),
                    description="In CSV, texts that a spreadsheet would compute (starting with "
                    "= + - @, tab or CR) have a quote before them.",
                ),
            ),
        ]

    def _changing(self) -> list[Endpoint]:
        return [
            Endpoint(
                "PATCH",
                "/v1/datasets/{id}",
                self.describe,
                Operation(
                    "describeDataset",
                    TAG,
                    "Change the description or the labels of a dataset",
                    gives(wire.DatasetOut),
                    scope="submit",
                    query=NoQuery,
                    body=(Content(wire.DescribeBody, JSON),),
                    problems=(400, 404),
                ),
            ),
            Endpoint(
                "DELETE",
                "/v1/datasets/{id}",
                self.trash,
                Operation(
                    "trashDataset",
                    TAG,
                    "Throw a dataset away; it can be restored until it is purged",
                    gives(wire.DatasetOut, "The dataset, now in the trash."),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/datasets/{id}/restore",
                self.restore,
                Operation(
                    "restoreDataset",
                    TAG,
                    "Take a dataset out of the trash",
                    gives(wire.DatasetOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/trash/purge",
                self.purge,
                Operation(
                    "purgeTrash",
                    "trash",
                    "Delete the bytes of what was thrown away, and files nobody needs",
                    gives(wire.PurgeOut),
                    scope="admin",
                    query=NoQuery,
                    body=(Content(wire.PurgeBody, JSON),),
                    problems=(400,),
                ),
            ),
        ]

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets``."""
        asked = query(request, wire.DatasetsQuery)
        which = DatasetFilter(**asked.model_dump())
        return page_reply(await self._engine.datasets(who, which), translate.dataset)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets/{id}``; a name gives the newest version of it."""
        query(request, NoQuery)
        view = await self._engine.dataset(who, request.match_info["id"])
        return json_reply(translate.dataset(view))

    async def versions(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets/{id}/versions``."""
        query(request, NoQuery)
        views = await self._engine.dataset_versions(who, request.match_info["id"])
        return json_reply({"items": [translate.dataset(view) for view in views]})

    async def profile(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets/{id}/profile``."""
        asked, dataset = query(request, wire.ProfileQuery), request.match_info["id"]
        target = None
        if asked.target is not None:
            target = await self._engine.target_profile(who, dataset, asked.target)
        profile = await self._engine.dataset_profile(who, dataset)
        return json_reply({"profile": profile, "target": target})

    async def preview(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets/{id}/preview``."""
        asked = query(request, wire.PreviewQuery)
        found = await self._engine.dataset_preview(who, request.match_info["id"], asked.rows)
        return json_reply({"columns": found.columns, "rows": found.rows})

    async def content(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets/{id}/content``."""
        asked, dataset = query(request, wire.ContentQuery), request.match_info["id"]
        file = await self._engine.dataset_file(who, dataset)
        if asked.format == "parquet":
            return file_reply(request, file, file.view.name)
        name = file.view.name.removesuffix(".parquet") + ".csv"
        return await _csv_reply(request, await self._engine.dataset_csv(who, dataset), name)

    async def describe(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``PATCH /v1/datasets/{id}``."""
        query(request, NoQuery)
        body = await json_body(request, wire.DescribeBody)
        view = await self._engine.describe_dataset(
            who, request.match_info["id"], description=body.description, labels=body.labels
        )
        return json_reply(translate.dataset(view))

    async def trash(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/datasets/{id}``."""
        query(request, NoQuery)
        view = await self._engine.trash_dataset(who, request.match_info["id"])
        return json_reply(translate.dataset(view))

    async def restore(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/datasets/{id}/restore``."""
        query(request, NoQuery)
        view = await self._engine.restore_dataset(who, request.match_info["id"])
        return json_reply(translate.dataset(view))

    async def purge(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/trash/purge``."""
        query(request, NoQuery)
        body = await json_body(request, wire.PurgeBody)
        report = await self._engine.purge_trash(
            who, older_than_s=body.older_than_s, dry_run=body.dry_run
        )
        return json_reply(translate.purge(report))


async def _csv_reply(
    request: web.Request, blocks: AsyncIterator[bytes], name: str
) -> web.StreamResponse:
    """Stream CSV; an error before the first block is still a proper answer."""
    headers = {hdrs.CONTENT_DISPOSITION: attachment(name)}
    response = web.StreamResponse(headers=headers)
    response.content_type, response.charset = CSV, "utf-8"
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    first = await anext(blocks, b"")
    await response.prepare(request)
    await response.write(first)
    async for block in blocks:
        await response.write(block)
    await response.write_eof()
    return response
