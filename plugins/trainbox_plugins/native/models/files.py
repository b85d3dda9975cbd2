"""``/v1/models/{ref}/files`` and ``/archive``: a model to take away."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.models import translate, wire
from trainbox_plugins.native.models.archive import archive_reply
from trainbox_plugins.native.replies import file_reply, json_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import FILE_REPLIES, Endpoint, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation, Reply

_TAR = (Content(None, "application/x-tar"),)
_ARCHIVE_REPLIES = {
    200: Reply("The tar.", _TAR, {"ETag": "The same for the same bytes."}),
    206: Reply("The range asked for.", _TAR, {"Content-Range": "Which bytes."}),
    304: Reply("Unchanged since the ETag the caller has."),
}
_NO_BODY = {
    200: Reply("No body; Content-Length says how many bytes there are."),
    206: Reply("No body; the range asked for."),
    304: Reply("Unchanged since the ETag the caller has."),
}
_PROBLEMS = (404, 412, 416, 503, 507)


class Files:
    """Handlers for the files of a model; ``{ref}`` is as everywhere."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of files and archives."""
        return [
            Endpoint(
                "GET",
                "/v1/models/{ref}/files",
                self.list,
                Operation(
                    "listModelFiles",
                    "models",
                    "List the files of a model's directory",
                    gives(wire.DirectoryOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404, 503, 507),
                ),
            ),
            *(
                Endpoint(
                    method,
                    "/v1/models/{ref}/files/{path:.+}",
                    self.file,
                    Operation(
                        f"{method.lower()}ModelFile",
                        "models",
                        summary,
                        replies,
                        scope="read",
                        query=NoQuery,
                        problems=_PROBLEMS,
                    ),
                )
                for method, summary, replies in (
                    ("GET", "Download one file of a model's directory", FILE_REPLIES),
                    ("HEAD", "Size and digest of one file", _NO_BODY),
                )
            ),
            *(
                Endpoint(
                    method,
                    "/v1/models/{ref}/archive",
                    self.archive,
                    Operation(
                        f"{method.lower()}ModelArchive",
                        "models",
                        summary,
                        replies,
                        scope="read",
                        query=NoQuery,
                        problems=_PROBLEMS,
                    ),
                )
                for method, summary, replies in (
                    ("GET", "Download a model's directory as one tar", _ARCHIVE_REPLIES),
                    ("HEAD", "Size of the tar", _NO_BODY),
                )
            ),
        ]

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}/files``."""
        query(request, NoQuery)
        found = await self._engine.model_directory(who, request.match_info["ref"])
        return json_reply(translate.directory(found))

    async def file(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}/files/{path}``."""
        query(request, NoQuery)
        asked = request.match_info
        file = await self._engine.model_directory_file(who, asked["ref"], asked["path"])
        return file_reply(request, file, file.view.name.rpartition("/")[2])

    async def archive(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{ref}/archive``."""
        query(request, NoQuery)
        found = await self._engine.model_archive(who, request.match_info["ref"])
        return await archive_reply(request, found)
