"""Models: find, list, promote, take away, throw away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ModelView,
)
from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.models import (
    AliasChange,
    AliasMove,
    AliasView,
    ModelArchive,
    ModelDirectory,
    ModelFilter,
)


class ModelCalls(Protocol):
    """What can be done with models.

    A model is referred to by id, ``name``, ``name:version`` or ``name@alias``. Names are the
    caller's own: another owner's model has an id alone, also for an admin. A reference that finds
    nothing raises ``NotFound``.
    """

    async def models(self, who: Principal, which: ModelFilter) -> Page[ModelView]:
        """List model versions.

        Raises:
            ValidationFailed: a cursor that is not one of this listing's.
        """

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model; by id also one in the trash."""

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's ONNX file on this host."""

    async def set_alias(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias of a name at one of its versions, ready to predict at once.

        Raises:
            NotFound: no such version.
            Conflict: it is in the trash, cannot be served, or the alias does not point where the
                wish expects.
        """

    async def roll_back_alias(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias at the version before; the wish names no version.

        Raises:
            NotFound: no such alias.
            Conflict: as for :meth:`set_alias`, or there is no version before.
        """

    async def delete_alias(self, who: Principal, wish: AliasMove) -> None:
        """Take an alias away; its history stays.

        Raises:
            NotFound: no such alias.
            Conflict: it does not point where the wish expects.
        """

    async def aliases(self, who: Principal, name: str) -> Sequence[AliasView]:
        """List the aliases of a name."""

    async def alias_history(
        self,
        who: Principal,
        name: str,
        alias: str,
        *,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[AliasChange]:
        """List the moves of an alias, newest first."""

    async def trash_model(self, who: Principal, model: str) -> ModelView:
        """Throw a version away: it keeps its id, its number and, until a purge, its bytes.

        Raises:
            Conflict: an alias points at it.
        """

    async def restore_model(self, who: Principal, model: str) -> ModelView:
        """Bring a version back from the trash, by id.

        Raises:
            Conflict: its bytes were purged.
        """

    async def model_directory(self, who: Principal, model: str) -> ModelDirectory:
        """List the files that make up a version; the same version always has the same bytes."""

    async def model_directory_file(self, who: Principal, model: str, path: str) -> ArtifactFile:
        """Return one file of the directory on this host.

        Raises:
            NotFound: no such file.
        """

    async def model_archive(self, who: Principal, model: str) -> ModelArchive:
        """Lay the directory out as one tar; the same version always gives the same bytes."""
