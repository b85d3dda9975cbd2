"""Datasets: what is known of each; the bytes lie in the blob store."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import col, select

from trainbox.store import codec, cursors
from trainbox.store.reader import Reader
from trainbox.store.tables import DatasetRow
from trainbox.store.times import micros
from trainbox.store.transaction import Transaction
from trainbox.store.views import dataset_view
from trainbox.store.writer import Writer
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.engine import Page


class DatasetStore:
    """Datasets. A row is written after its bytes are published, so it never points at nothing."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(self, view: DatasetView, *, audit: str) -> DatasetView:
        """Store a dataset and an audit row that notes ``audit``."""
        values = {
            **vars(view),
            "columns": codec.dump_columns(view.columns),
            "warnings": codec.dump(view.warnings),
            "created_at": micros(view.created_at),
        }

        def insert(tx: Transaction) -> DatasetView:
            tx.insert(DatasetRow, values)
            tx.audit(view.owner, "dataset.create", view.id, audit)
            return view

        return await self._writer.write(insert)

    async def get(self, dataset_id: str) -> DatasetView | None:
        """Return one dataset."""
        return await self._first(col(DatasetRow.id) == dataset_id)

    async def newest(self, name: str, owner: str | None) -> DatasetView | None:
        """Return the newest dataset of a name; ``owner`` None for anyone's."""
        conditions = [col(DatasetRow.name) == name]
        if owner is not None:
            conditions.append(col(DatasetRow.owner) == owner)
        return await self._first(*conditions)

    async def list(
        self, *, owner: str | None, limit: int = 50, after: str | None = None
    ) -> Page[DatasetView]:
        """Return one page of datasets, newest first; ``owner`` None for everyone's.

        Raises:
            ValidationFailed: a cursor of another listing, or a page of no items.
        """
        size = cursors.page_size(limit)
        conditions = [col(DatasetRow.seq) < cursors.decode("datasets", after)]
        if owner is not None:
            conditions.append(col(DatasetRow.owner) == owner)
        rows = await self._rows(size + 1, *conditions)
        return cursors.page("datasets", rows, size, lambda row: row.seq, dataset_view)

    async def _first(self, *conditions: object) -> DatasetView | None:
        rows = await self._rows(1, *conditions)
        return dataset_view(rows[0]) if rows else None

    async def _rows(self, limit: int, *conditions: object) -> Sequence[DatasetRow]:
        statement = (
            select(DatasetRow)
            .where(*conditions)  # type: ignore[arg-type]
            .order_by(col(DatasetRow.seq).desc())
            .limit(limit)
        )
        async with self._reader.session() as session:
            return (await session.exec(statement)).all()
