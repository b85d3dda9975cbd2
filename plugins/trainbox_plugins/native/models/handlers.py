"""``/v1/models``: versions found, listed, thrown away and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from aiohttp import web

from trainbox_plugins.native.models import translate, wire
from trainbox_plugins.native.models.aliases import Aliases
from trainbox_plugins.native.models.files import Files
from trainbox_plugins.native.replies import file_reply, json_reply, page_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import FILE_REPLIES, Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery, PageQuery
from trainbox_sdk.artifacts import ArtifactView
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.models import ModelFilter
from trainbox_sdk.operations import Operation, Reply


class Models:
    """Handlers for models; ``{ref}`` is an id, ``name``, ``name:version`` or ``name@alias``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of models, of their aliases and of their files."""
        return [
            *self._found(),
            *self._graph(),
            *self._trash(),
            *Aliases(self._engine).endpoints(),
            *Files(self._engine).endpoints(),
        ]

    def _found(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/models",
                self.list,
                Operation(
                    "listModels",
                    "models",
                    "List model versions",
                    gives(PageOut[wire.ModelOut]),
                    scope="read",
                    query=wire.ListQuery,
                    problems=(422,),
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
                "/v1/models/{name}/versions",
                self.versions,
                Operation(
                    "listModelVersions",
                    "models",
                    "List the versions of a name, newest first",
                    gives(PageOut[wire.ModelOut]),
                    scope="read",
                    query=PageQuery,
                    problems=(404, 422),
                ),
            ),
        ]

    def _graph(self) -> Sequence[Endpoint]:
        return [
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
                    problems=(404, 412, 416),
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
                    {200: Reply("No body."), 206: Reply("No body."), 304: Reply("Unchanged.")},
                    scope="read",
                    query=NoQuery,
                    problems=(404, 412, 416),
                ),
            ),
        ]

    def _trash(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                "DELETE",
                "/v1/models/{ref}",
                self.trash,
                Operation(
                    "trashModel",
                    "models",
                    "Throw a version away; its bytes stay until the trash is purged",
                    gives(wire.ModelOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/models/{ref}/restore",
                self.restore,
                Operation(
                    "restoreModel",
                    "models",
                    "Bring a version back from the trash, by id",
                    gives(wire.ModelOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
        ]

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models``."""
        which = translate.which(query(request, wire.ListQuery))
        return page_reply(await self._engine.models(who, which), translate.model)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}``."""
        query(request, NoQuery)
        return json_reply(translate.model(await self._engine.model(who, request.match_info["ref"])))

    async def versions(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{name}/versions``."""
        asked = query(request, PageQuery)
        newest = await self._engine.model(who, request.match_info["name"])
        which = ModelFilter(name=newest.name, limit=asked.limit, after=asked.after)
        return page_reply(await self._engine.models(who, which), translate.model)

    async def onnx(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}/onnx``."""
        query(request, NoQuery)
        model = await self._engine.model(who, request.match_info["ref"])
        file = await self._engine.model_file(who, model.id)
        return file_reply(request, file, f"{model.name}-v{model.version}{_suffix(file.view)}")

    async def trash(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/models/{ref}``."""
        query(request, NoQuery)
        thrown = await self._engine.trash_model(who, request.match_info["ref"])
        return json_reply(translate.model(thrown))

    async def restore(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/models/{ref}/restore``."""
        query(request, NoQuery)
        restored = await self._engine.restore_model(who, request.match_info["ref"])
        return json_reply(translate.model(restored))


def _suffix(artifact: ArtifactView) -> str:
    """Return how the name of a downloaded model ends: it may be no ONNX file."""
    if artifact.media_type == "application/onnx":
        return ".onnx"
    return PurePosixPath(artifact.name).suffix or ".bin"
