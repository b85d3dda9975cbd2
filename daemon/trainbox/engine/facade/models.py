"""Models, as surfaces see them."""

from __future__ import annotations

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.artifacts import (
    ArtifactFile,
    ModelView,
)
from trainbox_sdk.engine import (
    Page,
    Principal,
)


class ModelDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.models.ModelCalls`."""

    async def models(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[ModelView]:
        """List models."""
        self._r.access.require(who, "read")
        owner = self._r.access.owner_filter(who)
        return await self._r.store.models.list(owner=owner, limit=limit, after=after)

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model."""
        self._r.access.require(who, "read")
        return await self._r.access.model(who, model)

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's ONNX file."""
        found = await self.model(who, model)
        view = await self._r.store.jobs.artifact(found.artifact_id)
        assert view is not None  # a foreign key
        return ArtifactFile(view, self._r.blobs.path(found.digest))

    async def set_alias(self, who: Principal, model: str, alias: str) -> ModelView:
        """Point an alias at this version."""
        self._r.access.require(who, "submit")
        found = await self._r.access.model(who, model)
        return await self._r.store.models.set_alias(found.id, alias, who=who.id)
