"""Rows of what surfaces keep of their own."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from trainbox.store.tables.base import (
    Row,
    integer_column,
    seq_column,
    table_options,
    text_column,
)


class DocumentRow(Row, table=True):
    """A document; ``revision`` counts its writes, ``body`` is JSON that the daemon never reads.

    ``grp`` and ``name`` may be empty: then it belongs to nothing, or is called nothing.
    """

    __tablename__ = "documents"
    __table_args__ = table_options(
        UniqueConstraint("space", "kind", "id"),
        CheckConstraint("revision > 0"),
        Index("documents_by_kind", "space", "kind", "seq"),
        Index("documents_by_owner", "space", "kind", "owner", "seq"),
        Index(
            "documents_by_group",
            "space",
            "kind",
            "grp",
            "seq",
            sqlite_where=text("grp <> ''"),
        ),
        Index(
            "documents_names",
            "space",
            "kind",
            "owner",
            "name",
            unique=True,
            sqlite_where=text("name <> ''"),
        ),
    )

    seq: int | None = seq_column()
    space: str = text_column()
    kind: str = text_column()
    id: str = text_column()
    owner: str = text_column()
    grp: str = text_column()
    name: str = text_column()
    revision: int = integer_column()
    body: str = text_column()
    created_at: int = integer_column()
    updated_at: int = integer_column()
