"""Datasets, and the one a model is linked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Literal

from aiohttp import web

from trainbox_plugins.custom_training import answers, datasets, wire
from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.errors import refused
from trainbox_plugins.custom_training.forms import FORM, Form, Limits, open_form
from trainbox_plugins.custom_training.library import Library, act, require_active
from trainbox_plugins.custom_training.reading import json_body, json_reply, query
from trainbox_plugins.custom_training.table import DATASETS, MODEL, Endpoint, gives, operation
from trainbox_sdk.engine import Engine
from trainbox_sdk.errors import NotFound
from trainbox_sdk.operations import Content, Operation, Reply
from trainbox_sdk.uploads import DatasetFilter, NewDataset

FIELDS = ("name", "format", "description")
_SUFFIXES: Mapping[str, Literal["csv", "jsonl", "parquet", "arrow"]] = {
    "csv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
}


class Datasets:
    """Handlers of ``/api/v1/datasets`` and ``…/dataset``."""

    def __init__(self, engine: Engine, library: Library, config: Config) -> None:
        self._engine = engine
        self._library = library
        self._config = config

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        link = f"{MODEL}/dataset"
        return [
            Endpoint("POST", DATASETS, self.upload, self._upload_operation(),
                     max_body_bytes=None),
            Endpoint("GET", DATASETS, self.list,
                     operation("customListDatasets", "List datasets, newest first",
                               gives(answers.DatasetsOut), "dataset:read", query=wire.PageQuery,
                               problems=(422,))),
            Endpoint("GET", f"{DATASETS}/{{dataset_id}}", self.get,
                     operation("customGetDataset", "A dataset", gives(answers.DatasetOut),
                               "dataset:read", query=wire.NoQuery, problems=(422,))),
            Endpoint("POST", link, self.link,
                     operation("customLinkDataset", "Link a model to data, in place of others",
                               gives(answers.LinkOut), "model:update", query=wire.NoQuery,
                               body=wire.LinkDataset, problems=(409, 422))),
            Endpoint("DELETE", link, self.unlink,
                     operation("customUnlinkDataset", "Take the link away",
                               {204: Reply("Gone.")}, "model:update", query=wire.NoQuery,
                               problems=(409, 422))),
        ]  # fmt: skip

    def _upload_operation(self) -> Operation:
        return Operation(
            "customUploadDataset",
            "custom training",
            "Upload a table: a form with file and, if wished, name, format and description",
            gives(answers.DatasetOut, "Kept.", status=201),
            problems=(400, 408, 413, 422, 503, 507),
            scope="dataset:create",
            query=wire.NoQuery,
            body=(Content(None, FORM),),
        )

    async def upload(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST /api/v1/datasets``."""
        query(request, wire.NoQuery)
        config = self._config
        limits = Limits(self._engine.max_upload_bytes(), config.upload_idle_s, config.spool_dir)
        async with open_form(request, FIELDS, limits) as form:
            filed = await self._engine.put_dataset(caller.who, _new_dataset(form), form.chunks)
        return json_reply(datasets.shown(filed.dataset), status=201)

    async def list(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET /api/v1/datasets``."""
        asked = query(request, wire.PageQuery)
        which = DatasetFilter(limit=asked.limit, after=asked.after)
        page = await self._engine.datasets(caller.who, which)
        shown = [datasets.shown(each) for each in page.items]
        return json_reply({"datasets": shown, "next": page.next})

    async def get(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET /api/v1/datasets/{dataset_id}``."""
        dataset_id = request.match_info["dataset_id"]
        found = await datasets.find_dataset(self._engine, caller, dataset_id)
        query(request, wire.NoQuery)
        return json_reply(datasets.shown(found))

    async def link(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/dataset``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        asked = await json_body(request, wire.LinkDataset)
        require_active(model)
        dataset = await datasets.find_dataset(self._engine, caller, asked.dataset_id)
        if asked.validate_schema:
            datasets.require_fit(model.body.config, dataset, "dataset_id")
        link = datasets.link_to(dataset, validated=asked.validate_schema)
        await self._library.change(
            caller,
            model.id,
            lambda body: replace(body, dataset=link),
            act("dataset_linked", model.id, dataset_id=dataset.id),
        )
        return json_reply({"model_id": model.id, **asdict(link)})

    async def unlink(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``DELETE …/dataset``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        require_active(model)
        if model.body.dataset is None:
            raise NotFound(f"Model {model.id!r} is linked to no dataset.")
        facts = {"dataset_id": model.body.dataset.dataset_id}
        await self._library.change(
            caller,
            model.id,
            lambda body: replace(body, dataset=None),
            act("dataset_unlinked", model.id, **facts),
        )
        return web.Response(status=204)


def _new_dataset(form: Form) -> NewDataset:
    filename = form.filename.replace("\\", "/").rpartition("/")[2]
    suffix = form.fields.get("format") or filename.rpartition(".")[2].lower()
    format_ = _SUFFIXES.get(suffix)
    if format_ is None:
        raise refused(
            "body", "format", msg=f"say which it is: one of {', '.join(sorted(set(_SUFFIXES)))}"
        )
    return NewDataset(
        name=form.fields.get("name") or filename or "dataset",
        format=format_,
        filename=filename,
        description=form.fields.get("description", ""),
    )
