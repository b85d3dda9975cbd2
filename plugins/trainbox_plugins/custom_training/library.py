"""Models of an organisation: finding them, changing them, and what their status is.

The status is derived from jobs and versions each time it is asked for. Nothing has to be reset
after a crash, so nothing can be left behind in ``training``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trainbox_plugins.custom_training.answers import ModelOut
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.names import LIVE, RUN_LABEL, ModelStatus, stamp
from trainbox_plugins.custom_training.records import (
    MODEL,
    ModelBody,
    ModelRecord,
    key,
    model_of,
    model_write,
)
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.documents import Act
from trainbox_sdk.engine import Engine, JobFilter, Principal
from trainbox_sdk.errors import Conflict, Forbidden, NotFound
from trainbox_sdk.jobs import JobView
from trainbox_sdk.models import ModelFilter

TRIES = 20
"""A write that others overtake is tried again; so many in a row is a fault, not contention."""


@dataclass(frozen=True)
class Standing:
    """Where a model stands now.

    Attributes:
        live: the job that trains it.
        newest: its newest version.
    """

    status: ModelStatus
    live: JobView | None
    newest: ModelView | None


def act(word: str, model_id: str, **note: Any) -> Act:
    """Return a line for the audit log about a model."""
    return Act(f"model.{word}", model_id, json.dumps(note, ensure_ascii=False, sort_keys=True))


def now_stamp() -> str:
    """Return the time as documents keep it."""
    text = stamp(datetime.now(UTC))
    assert text is not None
    return text


class Library:
    """Models, as documents of the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def model(self, caller: Caller, model_id: str) -> ModelRecord:
        """Return a model.

        Raises:
            NotFound: there is none.
            Forbidden: it is another organisation's.
        """
        document = await self._engine.document(key(MODEL, model_id))
        if document is None:
            raise NotFound(f"There is no model {model_id[:80]!r}.")
        if document.owner != caller.who.id:
            raise Forbidden(f"Model {model_id!r} belongs to another organisation.")
        return model_of(document)

    async def write(
        self, who: Principal, model: ModelRecord, *acts: Act, create: bool = False
    ) -> ModelRecord:
        """Keep a model as it is given, unless it has changed since it was read.

        Raises:
            Conflict: it has changed, or another model has the name.
        """
        write = model_write(model)
        if create:
            write = dataclasses.replace(write, expect=0)
        try:
            (document,) = await self._engine.write_documents(who, [write], acts=acts)
        except Conflict as error:
            raise name_taken(error, model.name) from error
        return model_of(document)

    async def change(
        self,
        caller: Caller,
        model_id: str,
        edit: Callable[[ModelBody], ModelBody],
        *acts: Act,
        name: str | None = None,
        archived: bool = False,
    ) -> ModelRecord:
        """Read, edit and keep a model; again where another write came between.

        Args:
            caller: who asks.
            model_id: which.
            edit: makes the new content.
            acts: lines for the audit log.
            name: a new one.
            archived: also of a model that is put away.

        Raises:
            Conflict: it is archived, another model has the name, or writes kept coming between.
        """
        for _ in range(TRIES):
            model = await self.model(caller, model_id)
            if not archived:
                require_active(model)
            edited = dataclasses.replace(model, body=edit(model.body), name=name or model.name)
            try:
                return await self.write(caller.who, edited, *acts)
            except Conflict as error:
                if error.code != "document_changed":
                    raise
        raise Conflict(f"Model {model_id!r} is being changed by others; try again.")

    async def standing(self, who: Principal, model: ModelRecord) -> Standing:
        """Return where a model stands."""
        live = await self._engine.jobs(
            who,
            JobFilter(name=model.id, states=LIVE, labels=frozenset({(RUN_LABEL, None)}), limit=1),
        )
        versions = await self._engine.models(who, ModelFilter(name=model.id, limit=1))
        training = next(iter(live.items), None)
        newest = next(iter(versions.items), None)
        status: ModelStatus = "draft" if newest is None else "ready"
        if model.body.archived_at is not None:
            status = "archived"
        if training is not None:
            status = "training"
        return Standing(status, training, newest)

    async def shown(self, who: Principal, model: ModelRecord) -> ModelOut:
        """Return a model as the dialect shows it."""
        standing = await self.standing(who, model)
        body = model.body
        return {
            "model_id": model.id,
            "name": model.name,
            "description": body.description,
            "model_type": body.model_type,
            "task_type": body.task_type,
            "status": standing.status,
            "version": standing.newest.version if standing.newest else 1,
            "tags": list(body.tags),
            "config": {
                "target_column": body.config.target_column,
                "feature_columns": body.config.feature_columns,
                "algorithm": body.config.algorithm,
                "parameters": body.config.parameters,
            },
            "dataset_id": body.dataset.dataset_id if body.dataset else None,
            "promoted_version_id": body.promoted,
            "latest_run_id": body.latest_run,
            "created_by": body.created_by,
            "created_at": stamp(model.created_at) or "",
            "updated_at": stamp(model.updated_at) or "",
        }


def require_active(model: ModelRecord) -> None:
    """Refuse to change what is archived.

    Raises:
        Conflict: it is.
    """
    if model.body.archived_at is not None:
        raise Conflict(f"Model {model.id!r} is archived; POST …/unarchive brings it back.")


def name_taken(error: Conflict, name: str) -> Conflict:
    """Return the dialect's words for a name that is taken; any other conflict as it came."""
    if error.code != "document_name_taken":
        return error
    return Conflict(f"Your organisation has a model named {name!r} already.", code=error.code)


def note_of(text: str) -> Mapping[str, Any] | str:
    """Return what a line of the audit log says: an object where it is one."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


def without_repeats(names: Sequence[str]) -> list[str]:
    """Return names in order, each once."""
    return list(dict.fromkeys(names))
