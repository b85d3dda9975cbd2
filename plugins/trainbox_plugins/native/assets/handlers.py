"""``/v1/assets``: scripts, weights and what else a job is given beside its data."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.assets import translate, wire
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets.uploads import FORM, raw_body
from trainbox_plugins.native.errors import UnsupportedMedia
from trainbox_plugins.native.replies import file_reply, json_reply, page_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import FILE_REPLIES, Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation, Reply

TAG = "assets"
_NO_BODY = {
    200: Reply("No body; Content-Length says how many bytes there are."),
    206: Reply("No body; the range asked for."),
    304: Reply("Unchanged since the ETag the caller has."),
}


class Assets:
    """Handlers for uploaded files."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of assets."""
        return [*self._coming_and_going(), *self._looking(), *self._contents()]

    def _coming_and_going(self) -> list[Endpoint]:
        return [
            Endpoint(
                "POST",
                "/v1/assets",
                self.create,
                Operation(
                    "createAsset",
                    TAG,
                    "Upload a file for scripts",
                    gives(wire.AssetOut, "Stored.", status=201),
                    scope="submit",
                    query=wire.UploadQuery,
                    problems=(400, 408, 413, 415, 422, 507),
                    body=(Content(None, "application/octet-stream"), Content(None, "*/*")),
                    description="The body is the file, as it is. Its bytes never change; a job "
                    "keeps those it was submitted with.",
                ),
                max_body_bytes=None,
            ),
            Endpoint(
                "DELETE",
                "/v1/assets/{id}",
                self.delete,
                Operation(
                    "deleteAsset",
                    TAG,
                    "Forget a file; jobs that were submitted with it keep its bytes",
                    {204: Reply("Gone.")},
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 503, 507),
                ),
            ),
        ]

    def _looking(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/assets",
                self.list,
                Operation(
                    "listAssets",
                    TAG,
                    "List files, newest first",
                    gives(PageOut[wire.AssetOut]),
                    scope="read",
                    query=wire.AssetsQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/assets/{id}",
                self.show,
                Operation(
                    "getAsset",
                    TAG,
                    "Show a file",
                    gives(wire.AssetOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
        ]

    def _contents(self) -> list[Endpoint]:
        kinds = (
            ("GET", "Download a file", FILE_REPLIES),
            ("HEAD", "Size and digest of a file", _NO_BODY),
        )
        return [
            Endpoint(
                method,
                "/v1/assets/{id}/content",
                self.content,
                Operation(
                    f"{method.lower()}AssetContent",
                    TAG,
                    summary,
                    replies,
                    scope="read",
                    query=NoQuery,
                    problems=(404, 412, 416),
                ),
            )
            for method, summary, replies in kinds
        ]

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/assets?filename=…&kind=…``."""
        asked = query(request, wire.UploadQuery)
        if request.content_type == FORM:
            raise UnsupportedMedia(
                "This route reads the file itself, not a form.",
                hint="Send its bytes as the body: curl --data-binary @FILE",
            )
        body = raw_body(request, self._config.upload_idle_s)
        made = await self._engine.create_asset(who, translate.new(asked), body)
        headers = {"Location": f"/v1/assets/{made.id}"}
        return json_reply(translate.asset(made), status=201, headers=headers)

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/assets``."""
        asked = query(request, wire.AssetsQuery)
        page = await self._engine.assets(who, kind=asked.kind, limit=asked.limit, after=asked.after)
        return page_reply(page, translate.asset)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/assets/{id}``."""
        query(request, NoQuery)
        return json_reply(translate.asset(await self._engine.asset(who, request.match_info["id"])))

    async def content(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/assets/{id}/content``."""
        query(request, NoQuery)
        asset = await self._engine.asset(who, request.match_info["id"])
        file = await self._engine.asset_file(who, asset.id)
        return file_reply(request, file, asset.filename)

    async def delete(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/assets/{id}``."""
        query(request, NoQuery)
        await self._engine.delete_asset(who, request.match_info["id"])
        return web.Response(status=204)
