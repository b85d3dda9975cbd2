"""Versions: look at, promote, download, test."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import hdrs, web

from trainbox_plugins.custom_training import answers, wire
from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.errors import refused
from trainbox_plugins.custom_training.library import Library, act, now_stamp
from trainbox_plugins.custom_training.links import Links
from trainbox_plugins.custom_training.names import shown, stamp
from trainbox_plugins.custom_training.reading import json_body, json_reply, query
from trainbox_plugins.custom_training.records import MODEL as MODEL_KIND
from trainbox_plugins.custom_training.records import ModelRecord, key, model_of
from trainbox_plugins.custom_training.table import MODEL, Endpoint, gives, operation
from trainbox_plugins.custom_training.versions import ONNX, Versions, format_of
from trainbox_sdk.artifacts import ArtifactView, ModelView, PredictRequest
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.models import ModelFilter
from trainbox_sdk.operations import Content, Operation, Reply
from trainbox_sdk.surfaces import Route

OCTETS = "application/octet-stream"


class ModelVersions:
    """Handlers of ``…/versions``, ``…/download`` and ``…/test``."""

    def __init__(self, engine: Engine, library: Library, config: Config) -> None:
        self._engine = engine
        self._library = library
        self._versions = Versions(engine)
        self._links = Links(engine)
        self._public_url = config.public_url

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes that want a token."""
        one = f"{MODEL}/versions/{{version_id}}"
        return [
            Endpoint("GET", f"{MODEL}/versions", self.list,
                     operation("customListVersions", "Versions of a model, newest first",
                               gives(answers.VersionsOut), "model:read", query=wire.PageQuery,
                               problems=(422,))),
            Endpoint("GET", one, self.get,
                     operation("customGetVersion", "A version", gives(answers.VersionOut),
                               "model:read", query=wire.NoQuery, problems=(422,))),
            Endpoint("POST", f"{one}/promote", self.promote,
                     operation("customPromoteVersion",
                               "Make a version the one that is used; the one before is demoted",
                               gives(answers.VersionOut), "model:promote", query=wire.NoQuery,
                               problems=(409, 422))),
            Endpoint("GET", f"{MODEL}/download", self.download,
                     operation("customDownload", "A link to a version's file, good for a while",
                               gives(answers.DownloadOut), "model:read",
                               query=wire.DownloadQuery, problems=(422,))),
            Endpoint("POST", f"{MODEL}/test", self.test,
                     operation("customTest", "What a version says of rows",
                               gives(answers.TestOut), "model:test", query=wire.NoQuery,
                               body=wire.TestModel, problems=(409, 422, 503))),
        ]  # fmt: skip

    def open_routes(self) -> Sequence[Route]:
        """Return the route that a signature opens."""
        files = Operation(
            "customFile",
            "custom training",
            "The file of a download link; no token is asked for",
            {
                200: Reply("The bytes.", (Content(None, OCTETS),)),
                206: Reply("The range asked for.", (Content(None, OCTETS),)),
            },
            problems=(403, 404, 416, 422),
            query=wire.LinkQuery,
        )
        return [Route("GET", f"{MODEL}/files/{{artifact_id}}", self.file, 1024, files)]

    async def list(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/versions``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.PageQuery)
        which = ModelFilter(name=model.id, limit=asked.limit, after=asked.after)
        page = await self._engine.models(caller.who, which)
        found = [await self._versions.shown(caller.who, model, each) for each in page.items]
        return json_reply({"model_id": model.id, "versions": found, "next": page.next})

    async def get(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/versions/{version_id}``."""
        model, version = await self._named(request, caller)
        query(request, wire.NoQuery)
        return json_reply(await self._versions.shown(caller.who, model, version))

    async def promote(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/versions/{version_id}/promote``."""
        model, version = await self._named(request, caller)
        query(request, wire.NoQuery)
        if version.trashed_at is not None:
            raise refused("path", "version_id", msg="only versions that are ready are promoted")
        id_ = shown(version.id)
        facts = {"version_id": id_, "version": version.version, "demoted": model.body.promoted}
        changed = await self._library.change(
            caller,
            model.id,
            lambda body: replace(body, promoted=id_, promoted_at=now_stamp()),
            act("version_promoted", model.id, **facts),
        )
        return json_reply(await self._versions.shown(caller.who, changed, version))

    async def download(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/download``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.DownloadQuery)
        version = await self._versions.chosen(caller.who, model, asked.version_id, "query")
        file = _of_format(await self._versions.files(caller.who, version), asked.format)
        expires = int(time.time()) + asked.expires_in
        signature = await self._links.sign(model.id, file.id, expires)
        origin = self._public_url or f"{request.scheme}://{request.host}"
        path = f"{MODEL}/files/{file.id}".replace("{model_id}", model.id)
        out: answers.DownloadOut = {
            "model_id": model.id,
            "version_id": shown(version.id),
            "format": format_of(file),
            "filename": _plain(file.name.rpartition("/")[2]),
            "size_bytes": file.bytes,
            "digest": file.digest,
            "download_url": f"{origin}{path}?expires={expires}&signature={signature}",
            "expires_at": stamp(datetime.fromtimestamp(expires, UTC)) or "",
        }
        facts = {"version_id": out["version_id"], "artifact": file.name, "digest": file.digest}
        noted = act("artifact_downloaded", model.id, **facts)
        await self._engine.write_documents(caller.who, [], acts=[noted])
        return json_reply(out)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """``GET …/files/{artifact_id}``: the signature is the permission."""
        asked = query(request, wire.LinkQuery)
        model_id, artifact_id = (request.match_info[name] for name in ("model_id", "artifact_id"))
        await self._links.require(model_id, artifact_id, asked.expires, asked.signature)
        document = await self._engine.document(key(MODEL_KIND, model_id))
        if document is None:
            raise NotFound(f"There is no model {model_id[:80]!r} any more.")
        model = model_of(document)
        owner = Principal(model.owner, "a download link", frozenset({"read"}))
        file = await self._engine.artifact_file(owner, artifact_id)
        name = file.view.name.rpartition("/")[2]
        headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{_plain(name)}"'}
        response = web.FileResponse(file.path, headers=headers)
        response.content_type = OCTETS
        return response

    async def test(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/test``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        asked = await json_body(request, wire.TestModel)
        standing = await self._library.standing(caller.who, model)
        if standing.status in {"draft", "training"}:
            raise Conflict(f"Model {model.id!r} is {standing.status}; it is tested once ready.")
        version = await self._versions.chosen(caller.who, model, asked.version_id, "body")
        await self._require_servable(caller.who, version)
        rows = asked.inputs if isinstance(asked.inputs, list) else [asked.inputs]
        began = time.monotonic()
        answer = await self._engine.predict(caller.who, PredictRequest(version.id, rows))
        latency_ms = (time.monotonic() - began) * 1000
        said = [_said(row) for row in answer.rows]
        out = {
            "model_id": model.id,
            "version_id": shown(version.id),
            "version": version.version,
            "latency_ms": round(latency_ms, 3),
            "warnings": list(answer.warnings),
        }
        more: Mapping[str, Any] = said[0]
        if isinstance(asked.inputs, list):
            more = {"predictions": said}
        return json_reply({**out, **more})

    async def _named(self, request: web.Request, caller: Caller) -> tuple[ModelRecord, ModelView]:
        model = await self._library.model(caller, request.match_info["model_id"])
        version_id = request.match_info["version_id"]
        return model, await self._versions.version(caller.who, model, version_id)

    async def _require_servable(self, who: Principal, version: ModelView) -> None:
        """Refuse what only unpickling could run: the daemon never loads a stranger's pickle.

        Raises:
            PreciseFailure: the version has no ONNX file.
        """
        files = await self._versions.files(who, version)
        if files and format_of(files[0]) != ONNX:
            raise refused(
                "body",
                "version_id",
                msg=f"version {shown(version.id)} is {format_of(files[0])!r}, and only ONNX is run "
                "here: pickles can run any code; have the script write an .onnx file",
            )


def _of_format(files: Sequence[ArtifactView], wanted: str | None) -> ArtifactView:
    """Return the file of a format; the one the version is served from where none is named."""
    found = [each for each in files if wanted in (None, format_of(each))]
    if not found:
        there = ", ".join(sorted({format_of(each) for each in files})) or "none"
        raise refused(
            "query", "format", msg=f"not available as {wanted!r}; this version has {there}"
        )
    return found[0]


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)


def _said(row: Mapping[str, Any]) -> answers.AnswerOut:
    known = {"prediction", "probabilities"}
    said: answers.AnswerOut = {
        "prediction": row.get("prediction"),
        "probabilities": row.get("probabilities"),
    }
    others = {name: value for name, value in row.items() if name not in known}
    if others:
        said["outputs"] = others
    return said
