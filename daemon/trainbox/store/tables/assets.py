"""Rows of what users upload beside datasets."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, text

from trainbox.store.tables.base import (
    Row,
    integer_column,
    seq_column,
    table_options,
    text_column,
)

KEPT = "deleted_at IS NULL"
"""Assets that are still there; the row of a deleted one stays, for the audit log to point at."""


class AssetRow(Row, table=True):
    """An uploaded file; its bytes lie in the blob store."""

    __tablename__ = "assets"
    __table_args__ = table_options(
        CheckConstraint("bytes > 0"),
        Index("assets_by_owner", "owner", "seq", sqlite_where=text(KEPT)),
        Index("assets_by_group", "grp", "owner", "seq", sqlite_where=text(KEPT)),
        Index("assets_by_digest", "digest"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    owner: str = text_column()
    filename: str = text_column()
    kind: str = text_column()
    grp: str = text_column()
    description: str = text_column()
    digest: str = text_column()
    bytes: int = integer_column()
    created_at: int = integer_column()
    deleted_at: int | None = integer_column(nullable=True)
