"""The fake engine's part of :mod:`trainbox_sdk.calls`: models."""

from dataclasses import replace

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ModelView,
)
from trainbox_sdk.engine import (
    Page,
    Principal,
)
from trainbox_sdk.errors import (
    NotFound,
)
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeModelCalls(FakeJobs):
    """In memory, by the same contract."""

    async def models(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[ModelView]:
        """List models, newest first."""
        self._enter("models")
        return fake_data.page(
            [m for m in self._models.values() if self._owns(who, m)], limit, after
        )

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model by id, ``name``, ``name:version`` or ``name@alias``."""
        self._enter("model")
        for view in reversed(list(self._models.values())):
            names = {view.id, view.name, f"{view.name}:{view.version}"}
            names |= {f"{view.name}@{alias}" for alias in view.aliases}
            if model in names and self._owns(who, view):
                return view
        raise NotFound(f"no model {model!r}", code="model_not_found")

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's file."""
        self._enter("model_file")
        return self._artifacts[(await self.model(who, model)).artifact_id]

    async def set_alias(self, who: Principal, model: str, alias: str) -> ModelView:
        """Point an alias at a version."""
        self._enter("set_alias")
        target = await self.model(who, model)
        for view in list(self._models.values()):
            if view.name == target.name:
                kept = tuple(known for known in view.aliases if known != alias)
                self._models[view.id] = replace(view, aliases=kept)
        target = replace(self._models[target.id])
        target = replace(target, aliases=(*target.aliases, alias))
        self._models[target.id] = target
        return target
