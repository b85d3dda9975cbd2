"""Models, as surfaces see them."""

from __future__ import annotations

from collections.abc import Sequence

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.artifacts import (
    ArtifactFile,
    ModelView,
)
from trainbox_sdk.engine import (
    Page,
    Principal,
)
from trainbox_sdk.models import (
    AliasChange,
    AliasMove,
    AliasView,
    ModelArchive,
    ModelDirectory,
    ModelFilter,
)


class ModelDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.models.ModelCalls`."""

    async def models(self, who: Principal, which: ModelFilter) -> Page[ModelView]:
        """List model versions."""
        self._r.access.require(who, "read")
        owner = self._r.access.owner_filter(who)
        return await self._r.store.models.list(which, owner=owner)

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model."""
        self._r.access.require(who, "read")
        return await self._r.access.model(who, model, trashed=True)

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's ONNX file."""
        self._r.access.require(who, "read")
        found = await self._r.access.model(who, model)
        view = await self._r.store.jobs.artifact(found.artifact_id)
        assert view is not None  # a foreign key
        return ArtifactFile(view, self._r.blobs.path(found.digest))

    async def set_alias(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias at a version."""
        self._r.access.require(who, "submit")
        return await self._r.promotions.move(who, wish)

    async def roll_back_alias(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias at the version before."""
        self._r.access.require(who, "submit")
        return await self._r.promotions.roll_back(who, wish)

    async def delete_alias(self, who: Principal, wish: AliasMove) -> None:
        """Take an alias away."""
        self._r.access.require(who, "submit")
        await self._r.store.aliases.move(who.id, wish, who=who.actor)

    async def aliases(self, who: Principal, name: str) -> Sequence[AliasView]:
        """List the aliases of a name."""
        self._r.access.require(who, "read")
        await self._r.access.model(who, name)
        return await self._r.store.aliases.list(who.id, name)

    async def alias_history(
        self,
        who: Principal,
        name: str,
        alias: str,
        *,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[AliasChange]:
        """List the moves of an alias."""
        self._r.access.require(who, "read")
        return await self._r.promotions.history(who, name, alias, limit=limit, after=after)

    async def trash_model(self, who: Principal, model: str) -> ModelView:
        """Throw a version away."""
        self._r.access.require(who, "submit")
        found = await self._r.access.model(who, model, "delete", trashed=True)
        return await self._r.reserve.freeing(
            lambda: self._r.store.models.trash(found.id, who=who.actor)
        )

    async def restore_model(self, who: Principal, model: str) -> ModelView:
        """Bring a version back from the trash."""
        self._r.access.require(who, "submit")
        found = await self._r.access.model(who, model, "delete", trashed=True)
        return await self._r.store.models.restore(found.id, who=who.actor)

    async def model_directory(self, who: Principal, model: str) -> ModelDirectory:
        """List the files of a version's directory."""
        self._r.access.require(who, "read")
        return await self._r.directories.of(await self._r.access.model(who, model))

    async def model_directory_file(self, who: Principal, model: str, path: str) -> ArtifactFile:
        """Return one file of the directory."""
        self._r.access.require(who, "read")
        return await self._r.directories.file(await self._r.access.model(who, model), path)

    async def model_archive(self, who: Principal, model: str) -> ModelArchive:
        """Lay the directory out as one tar."""
        self._r.access.require(who, "read")
        return await self._r.directories.archive(await self._r.access.model(who, model))
