"""Assets: the files that lie beside a model's script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from aiohttp import web

from trainbox_plugins.custom_training import answers, wire
from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.errors import Fault, PreciseFailure, refused
from trainbox_plugins.custom_training.forms import FORM, Form, Limits, open_form
from trainbox_plugins.custom_training.library import Library, act, require_active
from trainbox_plugins.custom_training.names import meant, shown, stamp
from trainbox_plugins.custom_training.places import Places
from trainbox_plugins.custom_training.reading import json_reply, query
from trainbox_plugins.custom_training.records import ModelRecord
from trainbox_plugins.custom_training.table import MODEL, Endpoint, gives, operation
from trainbox_plugins.custom_training.training import Trainer
from trainbox_sdk.assets import AssetView, NewAsset, filename_problem
from trainbox_sdk.engine import Engine
from trainbox_sdk.errors import NotFound
from trainbox_sdk.operations import Content, Operation, Reply

FIELDS = ("asset_type", "filename", "description")
MAX_DESCRIPTION = 4000


class Assets:
    """Handlers of ``…/custom/assets``."""

    def __init__(self, engine: Engine, library: Library, trainer: Trainer, config: Config) -> None:
        self._engine = engine
        self._library = library
        self._trainer = trainer
        self._config = config
        self._places = Places(config.max_assets)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        path = f"{MODEL}/custom/assets"
        return [
            Endpoint("POST", path, self.upload, self._upload_operation(), max_body_bytes=None),
            Endpoint("GET", path, self.list,
                     operation("customListAssets", "The files of a model",
                               gives(answers.AssetsOut), "model:read", query=wire.NoQuery,
                               problems=(422,))),
            Endpoint("DELETE", f"{path}/{{asset_id}}", self.delete,
                     operation("customDeleteAsset", "Delete a file; runs that have it keep it",
                               {204: Reply("Gone.")}, "model:update", query=wire.NoQuery,
                               problems=(409, 422))),
        ]  # fmt: skip

    def _upload_operation(self) -> Operation:
        return Operation(
            "customUploadAsset",
            "custom training",
            "Upload a file: a form with file, asset_type, filename and, if wished, description",
            gives(answers.AssetOut, "Kept.", status=201),
            problems=(400, 404, 408, 409, 413, 422, 507),
            scope="model:update",
            query=wire.NoQuery,
            body=(Content(None, FORM),),
            description="The same filename with the same asset_type takes the older one's place.",
        )

    async def upload(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/custom/assets``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        if model.body.model_type != "custom":
            raise refused("path", "model_id", msg="only models of model_type 'custom' have assets")
        require_active(model)
        config = self._config
        limits = Limits(config.max_asset_bytes, config.upload_idle_s, config.spool_dir)
        async with open_form(request, FIELDS, limits) as form:
            new = _new_asset(form, model, config.max_asset_bytes)
            facts = {"filename": new.filename, "asset_type": new.kind}
            uploaded = act("custom_asset_uploaded", model.id, **facts)
            async with self._places.taken(new, lambda: self._trainer.files(caller, model)):
                asset = await self._engine.create_asset(
                    caller.who, new, form.chunks, acts=[uploaded]
                )
        await self._settle(caller, model, asset)
        return json_reply(_shown(model.id, asset), status=201)

    async def list(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/custom/assets``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        files = await self._trainer.files(caller, model)
        shown_files = [_shown(model.id, each) for each in files]
        return json_reply({"model_id": model.id, "assets": shown_files})

    async def delete(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``DELETE …/custom/assets/{asset_id}``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asset_id = request.match_info["asset_id"]
        missing = NotFound(f"Model {model.id!r} has no asset {asset_id[:80]!r}.")
        if not asset_id.startswith("ast-"):
            raise missing
        try:
            found = await self._engine.asset(caller.who, meant(asset_id))
        except NotFound:
            raise missing from None
        if found.group != model.id:
            raise missing
        query(request, wire.NoQuery)
        require_active(model)
        facts = {"asset_id": asset_id, "filename": found.filename}
        deleted = act("custom_asset_deleted", model.id, **facts)
        await self._engine.delete_asset(caller.who, found.id, acts=[deleted])
        return web.Response(status=204)

    async def _settle(self, caller: Caller, model: ModelRecord, asset: AssetView) -> None:
        """Let a new file take the place of older ones, if there still is a place.

        Of two uploads of one name at the same time each looks after its own: the newer one stays.

        Raises:
            NotFound: the model was deleted meanwhile, and the file with it.
        """
        try:
            await self._library.model(caller, model.id)
        except NotFound:
            await self._forget(caller, asset.id)
            raise
        listed = await self._trainer.every_file(caller, model)
        newer = [each.id for each in listed].index(asset.id) if asset in listed else len(listed)
        for each in listed[newer + 1 :]:
            if each.filename == asset.filename:
                await self._forget(caller, each.id)

    async def _forget(self, caller: Caller, asset_id: str) -> None:
        try:
            await self._engine.delete_asset(caller.who, asset_id)
        except NotFound:
            return  # another upload of the same name was as fast


def _new_asset(form: Form, model: ModelRecord, max_bytes: int) -> NewAsset:
    fields, faults = form.fields, list[Fault]()
    for name in ("asset_type", "filename"):
        if name not in fields:
            faults.append({"loc": ["body", name], "msg": "Field required", "type": "missing"})
    kind, filename = fields.get("asset_type", "other"), fields.get("filename", "file")
    if kind not in get_args(wire.AssetType):
        known = ", ".join(get_args(wire.AssetType))
        faults.append({"loc": ["body", "asset_type"], "msg": f"one of {known}", "type": "enum"})
    if problem := filename_problem(filename):
        faults.append({"loc": ["body", "filename"], "msg": problem, "type": "value_error"})
    description = fields.get("description", "")
    if len(description) > MAX_DESCRIPTION:
        text = f"at most {MAX_DESCRIPTION} characters"
        faults.append({"loc": ["body", "description"], "msg": text, "type": "string_too_long"})
    if faults:
        raise PreciseFailure(faults)
    return NewAsset(filename, kind, model.id, description, max_bytes)


def _shown(model_id: str, asset: AssetView) -> answers.AssetOut:
    return {
        "asset_id": shown(asset.id),
        "model_id": model_id,
        "asset_type": asset.kind,
        "filename": asset.filename,
        "description": asset.description,
        "size_bytes": asset.bytes,
        "digest": asset.digest,
        "uploaded_at": stamp(asset.created_at) or "",
    }
