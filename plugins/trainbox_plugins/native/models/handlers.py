"""``/v1/models``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.models import translate, wire
from trainbox_plugins.native.replies import file_reply, json_reply, page_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import FILE_REPLIES, Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery, PageQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.operations import Content, Operation, Reply

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
"""A word that needs no quoting in a URL or a shell, and is never taken for a version."""


class Models:
    """Handlers for models; ``{ref}`` is an id, ``name``, ``name:version`` or ``name@alias``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of models."""
        return [
            Endpoint(
                "GET",
                "/v1/models",
                self.list,
                Operation(
                    "listModels",
                    "models",
                    "List models, newest first",
                    gives(PageOut[wire.ModelOut]),
                    scope="read",
                    query=PageQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/models/{ref}",
                self.show,
                Operation(
                    "getModel",
                    "models",
                    "Show a model",
                    gives(wire.ModelOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/models/{ref}/onnx",
                self.onnx,
                Operation(
                    "getModelOnnx",
                    "models",
                    "Download the ONNX file",
                    FILE_REPLIES,
                    scope="read",
                    query=NoQuery,
                    problems=(404, 416),
                ),
            ),
            Endpoint(
                "HEAD",
                "/v1/models/{ref}/onnx",
                self.onnx,
                Operation(
                    "headModelOnnx",
                    "models",
                    "Size and digest of the ONNX file",
                    {200: Reply("No body.")},
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "PUT",
                "/v1/models/{ref}/aliases/{alias}",
                self.set_alias,
                Operation(
                    "setModelAlias",
                    "models",
                    "Point an alias at a version",
                    gives(wire.ModelOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409, 415, 422),
                    body=(Content(wire.AliasIn),),
                ),
            ),
        ]

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models``."""
        asked = query(request, PageQuery)
        page = await self._engine.models(who, limit=asked.limit, after=asked.after)
        return page_reply(page, translate.model)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}``."""
        query(request, NoQuery)
        return json_reply(translate.model(await self._engine.model(who, request.match_info["ref"])))

    async def onnx(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}/onnx``."""
        query(request, NoQuery)
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
