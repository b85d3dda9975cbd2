"""``/v1/models`` and predictions."""

from __future__ import annotations

import re

from aiohttp import web

from trainbox_plugins.native import translate, wire
from trainbox_plugins.native.replies import file_reply, json_reply, page_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_sdk.artifacts import PredictRequest
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import FieldError, ValidationFailed

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
"""A word that needs no quoting in a URL or a shell, and is never taken for a version."""


class Models:
    """Handlers for models; ``{ref}`` is an id, ``name``, ``name:version`` or ``name@alias``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models``."""
        asked = query(request, wire.PageQuery)
        page = await self._engine.models(who, limit=asked.limit, after=asked.after)
        return page_reply(page, translate.model)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}``."""
        query(request, wire.NoQuery)
        return json_reply(translate.model(await self._engine.model(who, request.match_info["ref"])))

    async def onnx(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}/onnx``."""
        query(request, wire.NoQuery)
        model = await self._engine.model(who, request.match_info["ref"])
        file = await self._engine.model_file(who, model.id)
        return file_reply(request, file, f"{model.name}-v{model.version}.onnx")

    async def set_alias(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``PUT /v1/models/{ref}/aliases/{alias}``: point the alias at a version of that name."""
        name, alias = request.match_info["ref"], request.match_info["alias"]
        if not _ALIAS.fullmatch(alias):
            reason = "must be 1 to 64 letters, digits, '.', '_' or '-', a letter first"
            raise ValidationFailed(
                f"The alias {alias[:80]!r} {reason}.",
                errors=[FieldError(("path", "alias"), reason)],
            )
        body = await json_body(request, wire.AliasIn)
        model = await self._engine.set_alias(who, f"{name}:{body.version}", alias)
        return json_reply(translate.model(model))

    async def predict(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/models/{ref}/predict``: rows in, rows out."""
        query(request, wire.NoQuery)
        body = await json_body(request, wire.PredictIn)
        asked = PredictRequest(model=request.match_info["ref"], rows=body.rows)
        return json_reply(translate.prediction(await self._engine.predict(who, asked)))
