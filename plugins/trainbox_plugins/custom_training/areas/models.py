"""Models: create, find, change, archive, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from aiohttp import web

from trainbox_plugins.custom_training import answers, wire
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.datasets import find_dataset, link_to, require_fit
from trainbox_plugins.custom_training.library import (
    Library,
    act,
    now_stamp,
    without_repeats,
)
from trainbox_plugins.custom_training.names import SPACE, new_model_id
from trainbox_plugins.custom_training.reading import json_body, json_reply, query
from trainbox_plugins.custom_training.records import (
    MODEL,
    DatasetLink,
    ModelBody,
    ModelConfig,
    ModelRecord,
    model_of,
)
from trainbox_plugins.custom_training.removal import Removal
from trainbox_plugins.custom_training.table import MODEL as PATH
from trainbox_plugins.custom_training.table import MODELS, Endpoint, gives, operation
from trainbox_sdk.documents import Act, DocumentFilter
from trainbox_sdk.engine import Engine
from trainbox_sdk.errors import Conflict
from trainbox_sdk.operations import Reply


class Models:
    """Handlers of ``/api/v1/models`` and ``/api/v1/models/{model_id}``."""

    def __init__(self, engine: Engine, library: Library) -> None:
        self._engine = engine
        self._library = library
        self._removal = Removal(engine, library)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        one, gone = gives(answers.ModelOut), {204: Reply("Gone.")}
        made = gives(answers.ModelOut, "A draft.", status=201)
        return [
            Endpoint("POST", MODELS, self.create,
                     operation("customCreateModel", "Create a model", made, "model:create",
                               query=wire.NoQuery, body=wire.CreateModel,
                               problems=(409, 422))),
            Endpoint("GET", MODELS, self.list,
                     operation("customListModels", "List models, newest first",
                               gives(answers.ModelsOut), "model:read", query=wire.ModelsQuery,
                               problems=(422,))),
            Endpoint("GET", PATH, self.get,
                     operation("customGetModel", "A model", one, "model:read",
                               query=wire.NoQuery, problems=(422,))),
            Endpoint("PATCH", PATH, self.update,
                     operation("customUpdateModel", "Change a model", one, "model:update",
                               query=wire.NoQuery, body=wire.UpdateModel,
                               problems=(409, 422))),
            Endpoint("DELETE", PATH, self.delete,
                     operation("customDeleteModel", "Delete a model, its assets and versions",
                               gone, "model:delete", query=wire.NoQuery, problems=(409, 422))),
            Endpoint("POST", f"{PATH}/archive", self.archive,
                     operation("customArchiveModel", "Put a model away: it is not trained",
                               one, "model:update", query=wire.NoQuery, problems=(409, 422))),
            Endpoint("POST", f"{PATH}/unarchive", self.unarchive,
                     operation("customUnarchiveModel", "Bring a model back", one,
                               "model:update", query=wire.NoQuery, problems=(409, 422))),
        ]  # fmt: skip

    async def create(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST /api/v1/models``."""
        query(request, wire.NoQuery)
        asked = await json_body(request, wire.CreateModel)
        await self._removal.finish(caller.who)
        config, link = _config(asked.config), None
        if asked.dataset_id is not None:
            dataset = await find_dataset(self._engine, caller, asked.dataset_id)
            require_fit(config, dataset, "dataset_id")
            link = link_to(dataset, validated=True)
        draft = _draft(caller, asked, config, link)
        created = act("created", draft.id, name=draft.name, model_type=asked.model_type)
        acts = [created, *([_linked(draft.id, link)] if link else [])]
        model = await self._library.write(caller.who, draft, *acts, create=True)
        return json_reply(await self._library.shown(caller.who, model), status=201)

    async def list(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET /api/v1/models``."""
        asked = query(request, wire.ModelsQuery)
        await self._removal.finish(caller.who)
        which = DocumentFilter(
            SPACE, MODEL, owner=caller.who.id, name=asked.name, limit=asked.limit, after=asked.after
        )
        page = await self._engine.documents(which)
        shown = [await self._library.shown(caller.who, model_of(each)) for each in page.items]
        return json_reply({"models": shown, "next": page.next})

    async def get(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET /api/v1/models/{model_id}``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        return json_reply(await self._library.shown(caller.who, model))

    async def update(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``PATCH /api/v1/models/{model_id}``."""
        model_id = request.match_info["model_id"]
        before = await self._library.model(caller, model_id)
        query(request, wire.NoQuery)
        asked = await json_body(request, wire.UpdateModel)
        changed = sorted(asked.model_fields_set)

        def edit(body: ModelBody) -> ModelBody:
            if asked.description is not None:
                body = replace(body, description=asked.description)
            if asked.tags is not None:
                body = replace(body, tags=without_repeats(asked.tags))
            if asked.config is not None:
                body = replace(body, config=_config(asked.config))
            return body

        if asked.config is not None and before.body.dataset is not None:
            dataset = await find_dataset(self._engine, caller, before.body.dataset.dataset_id)
            require_fit(_config(asked.config), dataset, "config")
        word = "config_updated" if changed == ["config"] else "updated"
        model = await self._library.change(
            caller, model_id, edit, act(word, model_id, fields=changed), name=asked.name
        )
        return json_reply(await self._library.shown(caller.who, model))

    async def archive(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/archive``."""
        model = await self._at_rest(request, caller)
        query(request, wire.NoQuery)
        if model.body.archived_at is not None:
            raise Conflict(f"Model {model.id!r} is archived already.")
        return await self._set_archived(caller, model.id, now_stamp(), "archived")

    async def unarchive(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/unarchive``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        if model.body.archived_at is None:
            raise Conflict(f"Model {model.id!r} is not archived.")
        return await self._set_archived(caller, model.id, None, "unarchived")

    async def delete(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``DELETE``."""
        model_id = request.match_info["model_id"]
        await self._removal.finish(caller.who)
        await self._library.model(caller, model_id)
        query(request, wire.NoQuery)
        await self._removal.delete(caller, model_id)
        return web.Response(status=204)

    async def _at_rest(self, request: web.Request, caller: Caller) -> ModelRecord:
        """Return a model that is not being trained.

        Raises:
            Conflict: it is.
        """
        model = await self._library.model(caller, request.match_info["model_id"])
        if (await self._library.standing(caller.who, model)).status == "training":
            raise Conflict(f"A training run of model {model.id!r} is in progress.")
        return model

    async def _set_archived(
        self, caller: Caller, model_id: str, at: str | None, word: str
    ) -> web.StreamResponse:
        model = await self._library.change(
            caller,
            model_id,
            lambda body: replace(body, archived_at=at),
            act(word, model_id),
            archived=True,
        )
        return json_reply(await self._library.shown(caller.who, model))


def _draft(
    caller: Caller, asked: wire.CreateModel, config: ModelConfig, link: DatasetLink | None
) -> ModelRecord:
    at = datetime.now(UTC)
    body = ModelBody(
        model_type=asked.model_type,
        task_type=asked.task_type,
        created_by=caller.who.actor,
        description=asked.description,
        tags=without_repeats(asked.tags),
        config=config,
        dataset=link,
    )
    return ModelRecord(new_model_id(), caller.who.id, asked.name, body, 0, at, at)


def _linked(model_id: str, link: DatasetLink) -> Act:
    return act("dataset_linked", model_id, dataset_id=link.dataset_id)


def _config(asked: wire.ConfigIn) -> ModelConfig:
    return ModelConfig(**asked.model_dump())
