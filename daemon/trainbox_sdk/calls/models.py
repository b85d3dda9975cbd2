"""Models: find, list, promote."""

from __future__ import annotations

from typing import Protocol

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ModelView,
)
from trainbox_sdk.calls.base import Page, Principal


class ModelCalls(Protocol):
    """What can be done with models."""

    async def models(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[ModelView]:
        """List models, newest first."""

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model by id, ``name``, ``name:version`` or ``name@alias``."""

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's ONNX file on this host."""

    async def set_alias(self, who: Principal, model: str, alias: str) -> ModelView:
        """Point ``alias`` of the model's name at this version."""
