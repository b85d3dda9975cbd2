"""Model versions: found, listed, thrown away and brought back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, tuple_
from sqlalchemy.sql.elements import UnaryExpression
from sqlmodel import col, select

from trainbox.store import codec, cursors
from trainbox.store.reader import Reader
from trainbox.store.tables import ModelAliasRow, ModelFileRow, ModelRow
from trainbox.store.transaction import Transaction
from trainbox.store.views import model_view
from trainbox.store.writer import Writer
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.models import ModelFile, ModelFilter

NEWEST_FIRST = ModelFilter()

TRASH_SQL = "UPDATE models SET trashed_at = ? WHERE id = ? AND trashed_at IS NULL"
RESTORE_SQL = "UPDATE models SET trashed_at = NULL WHERE id = ? AND trashed_at IS NOT NULL"
ALIASES_SQL = "SELECT alias FROM model_aliases WHERE model_id = ? ORDER BY alias"


class ModelStore:
    """Models. Versions are made by :meth:`~trainbox.store.jobs.JobStore.succeed`."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def get(self, model_id: str) -> ModelView | None:
        """Return one model version by id, also from the trash."""
        return await self._first(col(ModelRow.id) == model_id)

    async def find(
        self,
        name: str,
        version: int | None = None,
        alias: str | None = None,
        *,
        owner: str | None = None,
    ) -> ModelView | None:
        """Return a name's version that is asked for or aliased; without either the newest.

        What is in the trash has no name. ``owner`` None looks among everyone's.
        """
        conditions: list[ColumnElement[bool]] = [
            col(ModelRow.name) == name,
            col(ModelRow.trashed_at).is_(None),
        ]
        if owner is not None:
            conditions.append(col(ModelRow.owner) == owner)
        if version is not None:
            conditions.append(col(ModelRow.version) == version)
        if alias is not None:
            conditions += [_pointed_at(alias), col(ModelRow.name) == name]
        return await self._first(*conditions)

    async def list(
        self,
        which: ModelFilter = NEWEST_FIRST,
        *,
        owner: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Page[ModelView]:
        """Return one page of model versions; ``owner`` None for everyone's.

        Raises:
            ValidationFailed: a cursor of another listing, or a page of no items.
        """
        listing = "models" if which.sort == NEWEST_FIRST.sort else f"models by {which.sort}"
        size = cursors.page_size(which.limit if limit is None else limit)
        conditions = _conditions(which)
        if owner is not None:
            conditions.append(col(ModelRow.owner) == owner)
        cursor = after or which.after
        if cursor is not None:
            conditions.append(_after(which.sort, cursors.decode(listing, cursor)))
        found = await self._views(size + 1, *conditions, order=_order(which.sort))
        return cursors.page(listing, found, size, lambda item: item[0], lambda item: item[1])

    async def owner(self, model_id: str) -> str | None:
        """Return whose job made a model version."""
        async with self._reader.session() as session:
            statement = select(ModelRow.owner).where(col(ModelRow.id) == model_id)
            return (await session.exec(statement)).first()

    async def facts(self, model_id: str) -> dict[str, object]:
        """Return what was written down when the version was made; empty for older ones."""
        async with self._reader.session() as session:
            statement = select(ModelRow.facts).where(col(ModelRow.id) == model_id)
            text = (await session.exec(statement)).first()
        found: dict[str, object] = codec.load(text or "{}")
        return found

    # -- the trash ----------------------------------------------------------------------------

    async def trash(self, model_id: str, *, who: str) -> ModelView:
        """Throw a version away: names do not find it any more. Harmless the second time.

        Raises:
            NotFound: no such model.
            Conflict: an alias points at it.
        """

        def throw(tx: Transaction) -> None:
            if tx.one("SELECT 1 FROM models WHERE id = ?", (model_id,)) is None:
                raise NotFound(f"there is no model {model_id}", code="model_not_found")
            aliases = [row["alias"] for row in tx.all(ALIASES_SQL, (model_id,))]
            if aliases:
                raise Conflict(
                    f"the alias {aliases[0]!r} points at this version",
                    code="model_aliased",
                    hint="promote another version, or delete the alias, first",
                )
            if tx.changed(TRASH_SQL, (tx.now, model_id)):
                tx.audit(who, "model.trash", model_id)

        return await self._changed(model_id, throw)

    async def restore(self, model_id: str, *, who: str) -> ModelView:
        """Bring a version back from the trash. Harmless where it is not in there.

        Raises:
            NotFound: no such model.
            Conflict: its bytes are gone for good.
        """

        def bring_back(tx: Transaction) -> None:
            row = tx.one("SELECT purged_at FROM models WHERE id = ?", (model_id,))
            if row is None:
                raise NotFound(f"there is no model {model_id}", code="model_not_found")
            if row["purged_at"] is not None:
                raise Conflict(
                    f"the bytes of {model_id} were purged and cannot be restored",
                    code="model_purged",
                    hint="run its job again",
                )
            if tx.changed(RESTORE_SQL, (model_id,)):
                tx.audit(who, "model.restore", model_id)

        return await self._changed(model_id, bring_back)

    # -- the directory ------------------------------------------------------------------------

    async def files(self, model_id: str) -> tuple[ModelFile, ...]:
        """Return the files of a version's directory by path; empty until it was put together."""
        statement = (
            select(ModelFileRow)
            .where(col(ModelFileRow.model_id) == model_id)
            .order_by(col(ModelFileRow.path))
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return tuple(ModelFile(row.path, row.digest, row.bytes, row.media_type) for row in rows)

    async def add_files(self, model_id: str, files: Sequence[ModelFile]) -> tuple[ModelFile, ...]:
        """Keep the directory of a version, whose bytes are published; the first one counts.

        Raises:
            NotFound: no such model, or it was purged meanwhile.
        """

        def keep(tx: Transaction) -> None:
            row = tx.one("SELECT purged_at FROM models WHERE id = ?", (model_id,))
            if row is None or row["purged_at"] is not None:
                raise NotFound(f"model {model_id} is gone", code="model_not_found")
            if tx.one("SELECT 1 FROM model_files WHERE model_id = ?", (model_id,)) is not None:
                return
            for file in files:
                tx.insert(ModelFileRow, {**vars(file), "model_id": model_id})

        await self._writer.write(keep)
        return await self.files(model_id)

    # -- small things -------------------------------------------------------------------------

    async def _changed(self, model_id: str, work: Callable[[Transaction], None]) -> ModelView:
        await self._writer.write(work)
        view = await self.get(model_id)
        assert view is not None
        return view

    async def _first(self, *conditions: ColumnElement[bool]) -> ModelView | None:
        found = await self._views(1, *conditions)
        return found[0][1] if found else None

    async def _views(
        self,
        limit: int,
        *conditions: ColumnElement[bool],
        order: Sequence[UnaryExpression[Any]] = (),
    ) -> Sequence[tuple[int | None, ModelView]]:
        statement = (
            select(ModelRow)
            .where(*conditions)
            .order_by(*(order or _order(NEWEST_FIRST.sort)))
            .limit(limit)
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


def _pointed_at(alias: str) -> ColumnElement[bool]:
    pointed = select(ModelAliasRow.model_id).where(col(ModelAliasRow.alias) == alias)
    return col(ModelRow.id).in_(pointed)


def _conditions(which: ModelFilter) -> list[ColumnElement[bool]]:
    trashed = col(ModelRow.trashed_at)
    conditions: list[ColumnElement[bool]] = [
        trashed.is_not(None) if which.trashed else trashed.is_(None)
    ]
    if which.name is not None:
        conditions.append(col(ModelRow.name) == which.name)
    if which.task is not None:
        conditions.append(col(ModelRow.task) == which.task)
    if which.alias is not None:
        conditions.append(_pointed_at(which.alias))
    return conditions


def _order(sort: str) -> Sequence[UnaryExpression[Any]]:
    name, seq = col(ModelRow.name), col(ModelRow.seq)
    if "name" not in sort:
        return [seq.desc() if sort.startswith("-") else seq.asc()]
    return [name.desc(), seq.desc()] if sort.startswith("-") else [name.asc(), seq.asc()]


def _after(sort: str, seq: int) -> ColumnElement[bool]:
    """Return the condition of what follows the row of a ``seq``, in this order."""
    if "name" not in sort:
        return col(ModelRow.seq) < seq if sort.startswith("-") else col(ModelRow.seq) > seq
    name = select(ModelRow.name).where(col(ModelRow.seq) == seq).scalar_subquery()
    here, there = tuple_(col(ModelRow.name), col(ModelRow.seq)), tuple_(name, seq)
    return here < there if sort.startswith("-") else here > there
