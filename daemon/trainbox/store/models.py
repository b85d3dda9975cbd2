"""Model versions and the aliases that point at them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement
from sqlmodel import col, select

from trainbox.store import cursors
from trainbox.store.reader import Reader
from trainbox.store.tables import ModelAliasRow, ModelRow
from trainbox.store.transaction import Transaction
from trainbox.store.views import model_view
from trainbox.store.writer import Writer
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import NotFound

SET_ALIAS_SQL = """
INSERT INTO model_aliases (name, alias, model_id, updated_at)
VALUES (:name, :alias, :model_id, :now)
ON CONFLICT (name, alias) DO UPDATE SET model_id = :model_id, updated_at = :now
"""


class ModelStore:
    """Models. Versions are made by :meth:`~trainbox.store.jobs.JobStore.succeed`."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def get(self, model_id: str) -> ModelView | None:
        """Return one model version by id."""
        return await self._first(col(ModelRow.id) == model_id)

    async def find(
        self, name: str, version: int | None = None, alias: str | None = None
    ) -> ModelView | None:
        """Return a name's version that is asked for or aliased; without either the newest."""
        conditions = [col(ModelRow.name) == name]
        if version is not None:
            conditions.append(col(ModelRow.version) == version)
        if alias is not None:
            pointed = select(ModelAliasRow.model_id).where(
                col(ModelAliasRow.name) == name, col(ModelAliasRow.alias) == alias
            )
            conditions.append(col(ModelRow.id).in_(pointed))
        return await self._first(*conditions)

    async def list(
        self, *, owner: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[ModelView]:
        """Return one page of model versions, newest first; ``owner`` None for everyone's.

        Raises:
            ValidationFailed: a cursor of another listing, or a page of no items.
        """
        size = cursors.page_size(limit)
        conditions = [col(ModelRow.seq) < cursors.decode("models", after)]
        if owner is not None:
            conditions.append(col(ModelRow.owner) == owner)
        found = await self._views(size + 1, *conditions)
        return cursors.page("models", found, size, lambda item: item[0], lambda item: item[1])

    async def owner(self, model_id: str) -> str | None:
        """Return whose job made a model version."""
        async with self._reader.session() as session:
            statement = select(ModelRow.owner).where(col(ModelRow.id) == model_id)
            return (await session.exec(statement)).first()

    async def set_alias(self, model_id: str, alias: str, *, who: str) -> ModelView:
        """Point an alias of the model's name at this version, away from any other.

        Raises:
            NotFound: no such model.
        """

        def point(tx: Transaction) -> None:
            row = tx.one("SELECT name, version FROM models WHERE id = ?", (model_id,))
            if row is None:
                raise NotFound(f"there is no model {model_id}", code="model_not_found")
            tx.execute(
                SET_ALIAS_SQL,
                {"name": row["name"], "alias": alias, "model_id": model_id, "now": tx.now},
            )
            tx.audit(who, "model.alias", model_id, f"{row['name']}@{alias} = {row['version']}")

        await self._writer.write(point)
        view = await self.get(model_id)
        assert view is not None
        return view

    async def _first(self, *conditions: ColumnElement[bool]) -> ModelView | None:
        found = await self._views(1, *conditions)
        return found[0][1] if found else None

    async def _views(
        self, limit: int, *conditions: ColumnElement[bool]
    ) -> Sequence[tuple[int | None, ModelView]]:
        statement = (
            select(ModelRow).where(*conditions).order_by(col(ModelRow.seq).desc()).limit(limit)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
            pointing = (
                select(ModelAliasRow)
                .where(col(ModelAliasRow.model_id).in_([row.id for row in rows]))
                .order_by(col(ModelAliasRow.alias))
            )
            aliases = (await session.exec(pointing)).all() if rows else []
        return [
            (row.seq, model_view(row, [a.alias for a in aliases if a.model_id == row.id]))
            for row in rows
        ]
