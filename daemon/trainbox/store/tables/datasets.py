"""Rows of data."""

from __future__ import annotations

from sqlalchemy import (
    Index,
)

from trainbox.store.tables.base import (
    Row,
    integer_column,
    seq_column,
    table_options,
    text_column,
)


class DatasetRow(Row, table=True):
    """A stored dataset; its bytes lie in the blob store."""

    __tablename__ = "datasets"
    __table_args__ = table_options(
        Index("datasets_by_owner", "owner", "seq"),
        Index("datasets_by_name", "name", "seq"),
        Index("datasets_by_digest", "digest"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    name: str = text_column()
    digest: str = text_column()
    source_format: str = text_column()
    bytes: int = integer_column()
    rows: int = integer_column()
    columns: str = text_column()
    warnings: str = text_column()
    owner: str = text_column()
    created_at: int = integer_column()
