"""``/v1/datasets``."""

from __future__ import annotations

from aiohttp import web

from trainbox_plugins.native import translate, wire
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.replies import json_reply, page_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.uploads import open_upload
from trainbox_sdk.engine import Engine, Principal


class Datasets:
    """Handlers for data."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

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
        asked = query(request, wire.PageQuery)
        page = await self._engine.datasets(who, limit=asked.limit, after=asked.after)
        return page_reply(page, translate.dataset)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/datasets/{id}``; a name gives the newest of that name."""
        query(request, wire.NoQuery)
        view = await self._engine.dataset(who, request.match_info["id"])
        return json_reply(translate.dataset(view))
