"""Deleting a model: one transaction decides, and only then is anything thrown away.

The model's document goes in the transaction in which a *removal* is noted and the audit log's line
written. What the model leaves behind is cleared away after it. A daemon that dies in between leaves
the note, and whoever creates, lists or deletes a model of the organisation next goes on from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from trainbox_plugins.custom_training.credentials import SCOPES, Caller
from trainbox_plugins.custom_training.library import TRIES, Library, act, now_stamp
from trainbox_plugins.custom_training.names import SPACE, shown
from trainbox_plugins.custom_training.records import MODEL, REMOVAL, ModelRecord, key
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.documents import Document, DocumentFilter, DocumentWrite
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.models import ModelFilter

PAGE = 200


class Removal:
    """Deletes models with their files and versions."""

    def __init__(self, engine: Engine, library: Library) -> None:
        self._engine = engine
        self._library = library

    async def delete(self, caller: Caller, model_id: str) -> None:
        """Delete a model.

        Raises:
            NotFound: there is none.
            Forbidden: it is another organisation's.
            Conflict: it is being trained, a version is used by another way than this dialect, or
                writes kept coming between. Nothing is deleted then.
        """
        for _ in range(TRIES):
            model = await self._library.model(caller, model_id)
            if (await self._library.standing(caller.who, model)).live is not None:
                raise Conflict(f"A training run of model {model.id!r} is in progress.")
            await self._require_unused(caller.who, model)
            try:
                noted = await self._decide(caller.who, model)
            except Conflict as error:
                # A run that was submitted meanwhile has written the model too: look again.
                if error.code != "document_changed":
                    raise
                continue
            return await self._clear(noted)
        raise Conflict(f"Model {model_id!r} is being changed by others; try again.")

    async def finish(self, who: Principal) -> None:
        """Clear away what broken-off deletions of an organisation have left."""
        which = DocumentFilter(SPACE, REMOVAL, owner=who.id, limit=PAGE)
        for noted in (await self._engine.documents(which)).items:
            await self._clear(noted)

    async def _require_unused(self, who: Principal, model: ModelRecord) -> None:
        async for version in self._versions(who, model.id):
            if version.aliases:
                raise Conflict(
                    f"Version {shown(version.id)} is what the alias {version.aliases[0]!r} of "
                    "/v1/models points at; take the alias away first."
                )

    async def _decide(self, who: Principal, model: ModelRecord) -> Document:
        by = {"by": who.actor, "token_id": who.token_id, "at": now_stamp()}
        note = DocumentWrite(key(REMOVAL, model.id), model.owner, by, expect=0)
        gone = DocumentWrite(key(MODEL, model.id), model.owner, None, expect=model.revision)
        deleted = act("deleted", model.id, name=model.name)
        (noted,) = await self._engine.write_documents(who, [gone, note], acts=[deleted])
        return noted

    async def _clear(self, noted: Document) -> None:
        """Throw away what is left of a model; another may be at it at the same time."""
        model_id, by = noted.key.id, noted.body
        who = Principal(noted.owner, SPACE, SCOPES, token_id=by["token_id"], user=by["by"])
        while (found := await self._engine.assets(who, group=model_id, limit=PAGE)).items:
            for each in found.items:
                facts = {"asset_id": shown(each.id), "filename": each.filename}
                try:
                    await self._engine.delete_asset(
                        who, each.id, acts=[act("custom_asset_deleted", model_id, **facts)]
                    )
                except NotFound:
                    continue
        left = [version async for version in self._versions(who, model_id)]
        for version in left:
            try:
                await self._engine.trash_model(who, version.id)
            except NotFound:
                continue
            except Conflict:  # an alias that was set meanwhile: the note stays, for later
                return
        # Unconditionally: who has cleared the same at the same time may have been faster.
        await self._engine.write_documents(who, [DocumentWrite(noted.key, noted.owner, None)])

    async def _versions(self, who: Principal, model_id: str) -> AsyncIterator[ModelView]:
        after: str | None = None
        while True:
            page = await self._engine.models(
                who, ModelFilter(name=model_id, limit=PAGE, after=after)
            )
            for each in page.items:
                yield each
            after = page.next
            if after is None:
                return
