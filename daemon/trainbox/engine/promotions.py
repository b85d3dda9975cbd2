"""Moves of aliases: the version an alias is about to point at is loaded before it does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from trainbox.blobs import BlobStore
from trainbox.engine.predict_values import unserved
from trainbox.store import Store
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import Conflict, NotFound, TooLarge, Unavailable
from trainbox_sdk.models import AliasChange, AliasMove, AliasView

log = logging.getLogger(__name__)

UNUSABLE = "model_unusable"
"""The predictor's code for a file that can never be served."""


class Warmer(Protocol):
    """What can load a model before anyone asks it to predict."""

    async def warm(self, model: ModelView, path: Path, /) -> None:
        """Load a model.

        Raises:
            TooLarge: its file.
            Unavailable: ``model_unusable`` for ever; any other code for now.
        """


class Promotions:
    """Points aliases at versions. Names, and so aliases, are the caller's own."""

    def __init__(self, store: Store, blobs: BlobStore, warmer: Warmer) -> None:
        self._store = store
        self._blobs = blobs
        self._warmer = warmer

    async def move(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias at a version, loaded first: a request after the move finds it ready.

        Raises:
            NotFound: no such version.
            Conflict: the version cannot be served or is in the trash, or the alias points elsewhere
                than expected.
        """
        assert wish.version is not None, "deleting an alias loads nothing"
        await self._warm(who, wish.name, wish.version)
        await self._store.aliases.move(who.id, wish, who=who.actor)
        return await self._now(who, wish)

    async def roll_back(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias at the version before; not loaded first, since a roll-back is urgent.

        Raises:
            NotFound: no such alias.
            Conflict: there is no version before, it is in the trash, or the alias points elsewhere
                than expected.
        """
        await self._store.aliases.roll_back(who.id, wish, who=who.actor)
        return await self._now(who, wish)

    async def history(
        self, who: Principal, name: str, alias: str, *, limit: int, after: str | None
    ) -> Page[AliasChange]:
        """Return one page of an alias's moves.

        Raises:
            NotFound: an alias that never was.
        """
        page = await self._store.aliases.history(who.id, name, alias, limit=limit, after=after)
        if not page.items and after is None:
            raise NotFound(f"there is no alias {name}@{alias}", code="alias_not_found")
        return page

    async def _warm(self, who: Principal, name: str, version: int) -> None:
        model = await self._store.models.find(name, version, owner=who.id)
        if model is None or unserved(model.signature):
            return  # the move says what is wrong; what is not served has nothing to load
        try:
            await self._warmer.warm(model, self._blobs.path(model.digest))
        except (TooLarge, Unavailable) as error:
            if isinstance(error, TooLarge) or error.code == UNUSABLE:
                raise Conflict(
                    f"{name}:{version} cannot be served: {error.message}",
                    code="model_unusable",
                    hint="promote a version that can",
                ) from error
            # Busy now: the first request after the move loads it, as it would after a restart.
            log.warning("not warmed", extra={"model": model.id, "why": error.message})

    async def _now(self, who: Principal, wish: AliasMove) -> AliasView:
        for alias in await self._store.aliases.list(who.id, wish.name):
            if alias.alias == wish.alias:
                return alias
        # Someone deleted it between the move and this look.
        raise NotFound(f"there is no alias {wish.name}@{wish.alias}", code="alias_not_found")
