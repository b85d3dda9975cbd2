"""Datasets: what is known of each; the bytes lie in the blob store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement
from sqlmodel import col, select

from trainbox.store import codec, outbox
from trainbox.store.dataset_pages import dataset_page
from trainbox.store.reader import Reader
from trainbox.store.tables import (
    LIVE,
    DatasetProfileRow,
    DatasetRow,
)
from trainbox.store.times import micros
from trainbox.store.transaction import Transaction
from trainbox.store.views import dataset_view
from trainbox.store.writer import Writer
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import Conflict, IdempotencyClash, NotFound
from trainbox_sdk.uploads import DatasetFilter

NEWEST_SQL = """
SELECT id, digest FROM datasets
 WHERE owner = :owner AND name = :name AND trashed_at IS NULL ORDER BY version DESC LIMIT 1
"""
NEXT_VERSION_SQL = (
    "SELECT coalesce(max(version), 0) + 1 AS next FROM datasets WHERE owner = ? AND name = ?"
)
KEY_SQL = (
    "SELECT request_digest, dataset_id FROM dataset_keys WHERE owner = ? AND idempotency_key = ?"
)
LIVE_JOB_SQL = f"SELECT id FROM jobs WHERE dataset_id = ? AND {LIVE} ORDER BY seq LIMIT 1"  # noqa: S608
UPLOAD_DONE_SQL = """
UPDATE uploads SET state = 'done', dataset_id = :dataset_id, replayed = :replayed
 WHERE id = :id AND state = 'ingesting'
"""


@dataclass(frozen=True)
class Filing:
    """A dataset whose bytes are published, and what its row depends on.

    Attributes:
        profile: as JSON; None where there is none.
        key: the uploader's idempotency key.
        request_digest: sha256 of what was asked; the same key with another one clashes.
        upload_id: the resumable upload that ends with this row.
        actor: who the audit log names; empty for the owner.
    """

    view: DatasetView
    profile: str | None = None
    key: str | None = None
    request_digest: str = ""
    upload_id: str | None = None
    actor: str = ""


class DatasetStore:
    """Datasets. A row is written after its bytes are published, so it never points at nothing."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(self, view: DatasetView, *, audit: str) -> DatasetView:
        """Store a new version, whatever is there already, and an audit row that notes ``audit``."""
        return await self._writer.write(lambda tx: _insert(tx, Filing(view), audit))

    async def file(self, new: Filing, *, audit: str) -> tuple[str, bool]:
        """Store what an upload made; return the dataset's id and whether it was there before.

        It was there if the key came before, or if the newest version of the name has the same
        bytes: uploading something twice makes one version.

        Raises:
            IdempotencyClash: the key came before with another request.
        """
        return await self._writer.write(lambda tx: _file(tx, new, audit))

    async def get(self, dataset_id: str) -> DatasetView | None:
        """Return one dataset, also from the trash."""
        return await self._first(col(DatasetRow.id) == dataset_id)

    async def find(self, owner: str, name: str, version: int | None = None) -> DatasetView | None:
        """Return an owner's version of a name; without one, the newest that is not in the trash."""
        conditions = [col(DatasetRow.owner) == owner, col(DatasetRow.name) == name]
        if version is None:
            conditions.append(col(DatasetRow.trashed_at).is_(None))
        else:
            conditions.append(col(DatasetRow.version) == version)
        return await self._first(*conditions)

    async def versions(self, owner: str, name: str) -> tuple[DatasetView, ...]:
        """Return every version of a name, newest first, the trash and the purged ones too."""
        statement = (
            select(DatasetRow)
            .where(col(DatasetRow.owner) == owner, col(DatasetRow.name) == name)
            .order_by(col(DatasetRow.version).desc())
        )
        async with self._reader.session() as session:
            return tuple(dataset_view(row) for row in (await session.exec(statement)).all())

    async def profile(self, dataset_id: str) -> str | None:
        """Return the profile as JSON, None where none is kept."""
        statement = select(DatasetProfileRow.profile).where(
            col(DatasetProfileRow.dataset_id) == dataset_id
        )
        async with self._reader.session() as session:
            found: str | None = (await session.exec(statement)).first()
            return found

    async def list(
        self,
        *,
        owner: str | None,
        limit: int = 50,
        after: str | None = None,
        which: DatasetFilter | None = None,
    ) -> Page[DatasetView]:
        """Return one page of datasets; ``owner`` None for everyone's.

        Raises:
            ValidationFailed: a cursor of another listing, or a page of no items.
        """
        asked = which or DatasetFilter(limit=limit, after=after)
        return await dataset_page(self._reader, asked, owner)

    async def describe(
        self,
        dataset_id: str,
        *,
        description: str | None,
        labels: Mapping[str, str] | None,
        who: str,
    ) -> None:
        """Change what people say about a dataset; None leaves as it is."""

        def change(tx: Transaction) -> None:
            tx.execute(
                "UPDATE datasets SET description = coalesce(?, description),"
                " labels = coalesce(?, labels) WHERE id = ?",
                (description, None if labels is None else codec.dump(labels), dataset_id),
            )
            said = {"description": description, "labels": labels}
            tx.audit(who, "dataset.describe", dataset_id, codec.dump(said))

        await self._writer.write(change)

    async def trash(self, dataset_id: str, *, who: str) -> None:
        """Hide a dataset; one that is in the trash stays there.

        Raises:
            Conflict: a job that has not ended uses it.
        """

        def throw(tx: Transaction) -> None:
            job = tx.one(LIVE_JOB_SQL, (dataset_id,))
            if job is not None:
                raise Conflict(
                    f"{job['id']} uses {dataset_id} and has not ended",
                    code="dataset_in_use",
                    hint="wait for the job, or cancel it",
                )
            sql = "UPDATE datasets SET trashed_at = ? WHERE id = ? AND trashed_at IS NULL"
            if tx.changed(sql, (tx.now, dataset_id)):
                tx.audit(who, "dataset.trash", dataset_id)

        await self._writer.write(throw)

    async def restore(self, dataset_id: str, *, who: str) -> None:
        """Take a dataset out of the trash; one that is not there stays as it is.

        Raises:
            Conflict: its bytes were purged.
        """

        def take(tx: Transaction) -> None:
            row = tx.one("SELECT purged_at FROM datasets WHERE id = ?", (dataset_id,))
            if row is not None and row["purged_at"] is not None:
                raise Conflict(
                    f"the bytes of {dataset_id} were purged",
                    code="dataset_purged",
                    hint="upload the data again",
                )
            sql = "UPDATE datasets SET trashed_at = NULL WHERE id = ? AND trashed_at IS NOT NULL"
            if tx.changed(sql, (dataset_id,)):
                tx.audit(who, "dataset.restore", dataset_id)

        await self._writer.write(take)

    async def _first(self, *conditions: ColumnElement[bool]) -> DatasetView | None:
        statement = (
            select(DatasetRow).where(*conditions).order_by(col(DatasetRow.version).desc()).limit(1)
        )
        async with self._reader.session() as session:
            row = (await session.exec(statement)).first()
        return dataset_view(row) if row is not None else None


def _insert(tx: Transaction, new: Filing, audit: str) -> DatasetView:
    row = tx.one(NEXT_VERSION_SQL, (new.view.owner, new.view.name))
    assert row is not None
    view = replace(new.view, version=row["next"])
    tx.insert(DatasetRow, _values(view))
    if new.profile is not None:
        tx.insert(DatasetProfileRow, {"dataset_id": view.id, "profile": new.profile})
    tx.audit(new.actor or view.owner, "dataset.create", view.id, audit)
    told = {name: getattr(view, name) for name in ("id", "name", "version", "digest", "rows")}
    outbox.tell(tx, "dataset.created", view.owner, told)
    return view


def _file(tx: Transaction, new: Filing, audit: str) -> tuple[str, bool]:
    found = _by_key(tx, new) or _same_as_newest(tx, new)
    dataset_id = found or _insert(tx, new, audit).id
    if new.key is not None:
        values = (new.view.owner, new.key, new.request_digest, dataset_id)
        tx.execute("INSERT OR IGNORE INTO dataset_keys VALUES (?, ?, ?, ?)", values)
    if new.upload_id is not None:
        done = {"dataset_id": dataset_id, "replayed": found is not None, "id": new.upload_id}
        if not tx.changed(UPLOAD_DONE_SQL, done):
            raise NotFound(f"the upload {new.upload_id} was ended meanwhile")
    return dataset_id, found is not None


def _by_key(tx: Transaction, new: Filing) -> str | None:
    if new.key is None:
        return None
    row = tx.one(KEY_SQL, (new.view.owner, new.key))
    if row is None:
        return None
    if row["request_digest"] != new.request_digest:
        raise IdempotencyClash(
            f"the idempotency key {new.key!r} was used for another upload,"
            f" which made {row['dataset_id']}",
            hint="send the same upload again, or take a new key",
        )
    return str(row["dataset_id"])


def _same_as_newest(tx: Transaction, new: Filing) -> str | None:
    row = tx.one(NEWEST_SQL, {"owner": new.view.owner, "name": new.view.name})
    same = row is not None and row["digest"] == new.view.digest
    return str(row["id"]) if row is not None and same else None


def _values(view: DatasetView) -> dict[str, Any]:
    return {
        **vars(view),
        "columns": codec.dump_columns(view.columns),
        "warnings": codec.dump(view.warnings),
        "labels": codec.dump(view.labels),
        "created_at": micros(view.created_at),
        "trashed_at": micros(view.trashed_at),
        "purged_at": micros(view.purged_at),
    }
