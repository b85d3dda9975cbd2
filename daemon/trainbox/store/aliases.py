"""Aliases of models: every move is compared, made and written down in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from sqlmodel import col, select

from trainbox.store import cursors, outbox
from trainbox.store.reader import Reader
from trainbox.store.tables import ModelAliasChangeRow, ModelAliasRow, ModelRow
from trainbox.store.times import moment
from trainbox.store.transaction import Transaction
from trainbox.store.writer import Writer
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.models import AliasAct, AliasChange, AliasMove, AliasView

NOW_SQL = """
SELECT models.version AS version FROM model_aliases AS a JOIN models ON models.id = a.model_id
WHERE a.owner = ? AND a.name = ? AND a.alias = ?
"""
VERSION_SQL = """
SELECT id, trashed_at FROM models WHERE owner = ? AND name = ? AND version = ?
"""
SET_SQL = """
INSERT INTO model_aliases (owner, name, alias, model_id, updated_at)
VALUES (:owner, :name, :alias, :model_id, :at)
ON CONFLICT (owner, name, alias) DO UPDATE SET model_id = :model_id, updated_at = :at
"""
DELETE_SQL = "DELETE FROM model_aliases WHERE owner = ? AND name = ? AND alias = ?"
MOVES_SQL = """
SELECT act, to_version FROM model_alias_changes
WHERE owner = ? AND name = ? AND alias = ? ORDER BY seq
"""


class AliasStore:
    """Aliases. A name, and so its aliases, belongs to one owner."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def move(self, owner: str, wish: AliasMove, *, who: str) -> AliasChange | None:
        """Point an alias where the wish says; None, and nothing written, where it does already.

        Raises:
            NotFound: no such version, or no such alias to delete.
            Conflict: the alias does not point where the wish expects, or the version is trashed.
        """
        return await self._writer.write(lambda tx: _move(tx, owner, wish, who))

    async def roll_back(self, owner: str, wish: AliasMove, *, who: str) -> AliasChange:
        """Point an alias at the version it pointed at before, by its history.

        Raises:
            NotFound: no such alias.
            Conflict: there is no version before, or it is in the trash, or the alias does not point
                where the wish expects.
        """

        def work(tx: Transaction) -> AliasChange:
            before = _before(tx, owner, wish)
            change = _move(tx, owner, replace(wish, version=before, act="rollback"), who)
            assert change is not None, "the version before is another one"
            return change

        return await self._writer.write(work)

    async def list(self, owner: str, name: str) -> Sequence[AliasView]:
        """Return the aliases of a name."""
        statement = (
            select(ModelAliasRow, ModelRow.version)
            .join(ModelRow, col(ModelRow.id) == col(ModelAliasRow.model_id))
            .where(col(ModelAliasRow.owner) == owner, col(ModelAliasRow.name) == name)
            .order_by(col(ModelAliasRow.alias))
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return tuple(
            AliasView(row.name, row.alias, version, row.model_id, moment(row.updated_at))
            for row, version in rows
        )

    async def history(
        self, owner: str, name: str, alias: str, *, limit: int = 50, after: str | None = None
    ) -> Page[AliasChange]:
        """Return one page of an alias's moves, newest first; of a deleted one too.

        Raises:
            ValidationFailed: a cursor of another listing, or a page of no items.
        """
        row = ModelAliasChangeRow
        size = cursors.page_size(limit)
        statement = (
            select(row)
            .where(
                col(row.owner) == owner,
                col(row.name) == name,
                col(row.alias) == alias,
                col(row.seq) < cursors.decode("alias changes", after),
            )
            .order_by(col(row.seq).desc())
            .limit(size + 1)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return cursors.page("alias changes", rows, size, lambda one: one.seq, _change)


def _move(tx: Transaction, owner: str, wish: AliasMove, who: str) -> AliasChange | None:
    now = _now(tx, owner, wish)
    if wish.version is None and now is None:
        raise _no_alias(wish)
    target = None if wish.version is None else _target(tx, owner, wish)
    if wish.version == now:
        return None
    if target is None:
        tx.execute(DELETE_SQL, (owner, wish.name, wish.alias))
    else:
        keys = {"owner": owner, "name": wish.name, "alias": wish.alias}
        tx.execute(SET_SQL, {**keys, "model_id": target, "at": tx.now})
    return _write_down(tx, owner, wish, who, now)


def _now(tx: Transaction, owner: str, wish: AliasMove) -> int | None:
    """Return where the alias points, once that is what the wish expects."""
    row = tx.one(NOW_SQL, (owner, wish.name, wish.alias))
    now: int | None = row["version"] if row else None
    if wish.expected_version is not None and wish.expected_version != (now or 0):
        where = f"at version {now}" if now else "nowhere"
        raise Conflict(
            f"{wish.name}@{wish.alias} points {where}, not at version {wish.expected_version}",
            code="alias_moved",
            hint="someone moved it meanwhile: look again, then decide again",
        )
    return now


def _target(tx: Transaction, owner: str, wish: AliasMove) -> str:
    row: sqlite3.Row | None = tx.one(VERSION_SQL, (owner, wish.name, wish.version))
    if row is None:
        raise NotFound(f"there is no model {wish.name}:{wish.version}", code="model_not_found")
    if row["trashed_at"] is not None:
        raise Conflict(
            f"{wish.name}:{wish.version} is in the trash",
            code="model_trashed",
            hint=f"restore it with POST /v1/models/{row['id']}/restore, or choose another version",
        )
    return str(row["id"])


def _before(tx: Transaction, owner: str, wish: AliasMove) -> int:
    """Return the version before the present one: each roll-back takes back one earlier move."""
    now = _now(tx, owner, wish)
    if now is None:
        raise _no_alias(wish)
    stack: list[int] = []
    for row in tx.all(MOVES_SQL, (owner, wish.name, wish.alias)):
        if row["act"] == "delete":
            stack.clear()
        elif row["act"] == "rollback":
            stack.pop()
        else:
            stack.append(row["to_version"])
    if len(stack) < 2:  # noqa: PLR2004 - the present one and the one before
        raise Conflict(
            f"{wish.name}@{wish.alias} pointed nowhere before version {now}",
            code="no_version_before",
            hint="promote the version you want",
        )
    return stack[-2]


def _write_down(
    tx: Transaction, owner: str, wish: AliasMove, who: str, before: int | None
) -> AliasChange:
    values: dict[str, Any] = {
        "name": wish.name,
        "alias": wish.alias,
        "act": "delete" if wish.version is None else wish.act,
        "from_version": before,
        "to_version": wish.version,
        "who": who,
        "reason": wish.reason,
    }
    seq = tx.insert(ModelAliasChangeRow, {**values, "owner": owner, "at": tx.now})
    note = f"{before or 'nothing'} -> {wish.version or 'nothing'}"
    about = f"{wish.name}@{wish.alias}"
    tx.audit(who, f"alias.{values['act']}", about, f"{note}: {wish.reason}".rstrip(": "))
    if wish.version is not None:
        outbox.tell(tx, "model.promoted", owner, {**values, "about": about})
    return AliasChange(seq=seq, **values, at=moment(tx.now))


def _no_alias(wish: AliasMove) -> NotFound:
    return NotFound(f"there is no alias {wish.name}@{wish.alias}", code="alias_not_found")


def _change(row: ModelAliasChangeRow) -> AliasChange:
    assert row.seq is not None
    return AliasChange(
        row.seq,
        row.name,
        row.alias,
        cast("AliasAct", row.act),
        row.from_version,
        row.to_version,
        row.who,
        row.reason,
        moment(row.at),
    )
