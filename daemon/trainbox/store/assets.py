"""Uploaded files: what is known of each; the bytes lie in the blob store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlmodel import col, select

from trainbox.ids import is_id
from trainbox.store import acts as lines
from trainbox.store import cursors
from trainbox.store.reader import Reader
from trainbox.store.references import in_use
from trainbox.store.tables import AssetRow
from trainbox.store.times import micros, moment
from trainbox.store.transaction import Transaction
from trainbox.store.writer import Writer
from trainbox_sdk.assets import AssetView
from trainbox_sdk.documents import Act
from trainbox_sdk.engine import Page

LISTING = "assets"
FORGET_SQL = """
UPDATE assets SET deleted_at = :now WHERE id = :id AND deleted_at IS NULL
RETURNING digest, filename
"""


class AssetStore:
    """Assets. A row is written after its bytes are published, so it never points at nothing."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(self, view: AssetView, acts: Sequence[Act], *, who: str) -> None:
        """Store an asset, its line in the audit log and those given."""
        values = {**vars(view), "grp": view.group, "created_at": micros(view.created_at)}
        created = Act("asset.create", view.id, f"{view.filename} {view.digest}")

        def insert(tx: Transaction) -> None:
            tx.insert(AssetRow, {**values, "deleted_at": None})
            lines.write(tx, who, [created, *acts], this=view.id)

        await self._writer.write(insert)

    async def get(self, asset_id: str) -> AssetView | None:
        """Return an asset that was not deleted."""
        return (await self.find([asset_id])).get(asset_id)

    async def find(self, asset_ids: Collection[str]) -> Mapping[str, AssetView]:
        """Return those of these assets that are there."""
        # Whatever is no id of ours is not looked for: it may not even be text that SQLite takes.
        ids = [asset_id for asset_id in asset_ids if is_id(asset_id, "ast")]
        statement = select(AssetRow).where(
            col(AssetRow.id).in_(ids), col(AssetRow.deleted_at).is_(None)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return {row.id: _view(row) for row in rows}

    async def list(
        self,
        *,
        owner: str | None,
        group: str | None,
        kind: str | None,
        limit: int,
        after: str | None,
    ) -> Page[AssetView]:
        """Return a page of assets, newest first.

        Raises:
            ValidationFailed: not a cursor of this listing, or no page at all.
        """
        size = cursors.page_size(limit)
        wanted = ((AssetRow.owner, owner), (AssetRow.grp, group), (AssetRow.kind, kind))
        statement = (
            select(AssetRow)
            .where(
                col(AssetRow.seq) < cursors.decode(LISTING, after),
                col(AssetRow.deleted_at).is_(None),
                *(col(column) == value for column, value in wanted if value is not None),
            )
            .order_by(col(AssetRow.seq).desc())
            .limit(size + 1)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return cursors.page(LISTING, rows, size, lambda row: row.seq, _view)

    async def delete(self, asset_id: str, acts: Sequence[Act], *, who: str) -> str | None:
        """Forget an asset; return its digest where no row needs the bytes any more.

        One that is not there is left alone, with no line written.
        """

        def delete(tx: Transaction) -> str | None:
            row = tx.one(FORGET_SQL, {"id": asset_id, "now": tx.now})
            if row is None:
                return None
            deleted = Act("asset.delete", asset_id, row["filename"])
            lines.write(tx, who, [deleted, *acts], this=asset_id)
            return None if in_use(tx, row["digest"]) else str(row["digest"])

        return await self._writer.write(delete)


def _view(row: AssetRow) -> AssetView:
    return AssetView(
        id=row.id,
        owner=row.owner,
        filename=row.filename,
        kind=row.kind,
        group=row.grp,
        description=row.description,
        digest=row.digest,
        bytes=row.bytes,
        created_at=moment(row.created_at),
    )
