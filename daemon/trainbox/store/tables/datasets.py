"""Rows of data."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
)

from trainbox.store.tables.base import (
    Row,
    integer_column,
    seq_column,
    table_options,
    text_column,
)


class DatasetRow(Row, table=True):
    """One version of a named dataset; its bytes lie in the blob store.

    ``trashed_at`` hides it, ``purged_at`` says that its bytes are given up; the row stays for the
    jobs and models that name it. ``source_digest`` is of the bytes as they were sent.
    """

    __tablename__ = "datasets"
    __table_args__ = table_options(
        UniqueConstraint("owner", "name", "version"),
        CheckConstraint("version > 0"),
        CheckConstraint("(purged_at IS NULL) OR (trashed_at IS NOT NULL)", name="purged_is_trash"),
        Index("datasets_by_owner", "owner", "seq"),
        Index("datasets_by_name", "name", "seq"),
        Index("datasets_by_digest", "digest"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    name: str = text_column()
    version: int = integer_column()
    digest: str = text_column()
    source_format: str = text_column()
    source_digest: str = text_column()
    bytes: int = integer_column()
    rows: int = integer_column()
    columns: str = text_column()
    warnings: str = text_column()
    description: str = text_column()
    labels: str = text_column()
    owner: str = text_column()
    created_at: int = integer_column()
    trashed_at: int | None = integer_column(nullable=True)
    purged_at: int | None = integer_column(nullable=True)


class DatasetProfileRow(Row, table=True):
    """What reading found out about a dataset, as JSON; goes with its bytes."""

    __tablename__ = "dataset_profiles"
    __table_args__ = ({"sqlite_strict": True},)

    dataset_id: str = text_column(ForeignKey("datasets.id"), primary_key=True)
    profile: str = text_column()


class DatasetKeyRow(Row, table=True):
    """An idempotency key of an upload, and what it made."""

    __tablename__ = "dataset_keys"
    __table_args__ = (
        Index("dataset_keys_by_dataset", "dataset_id"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    owner: str = text_column(primary_key=True)
    idempotency_key: str = text_column(primary_key=True)
    request_digest: str = text_column()
    dataset_id: str = text_column(ForeignKey("datasets.id"))


class UploadRow(Row, table=True):
    """A resumable upload; ``received`` bytes of its file are on the disk for sure.

    ``failure`` is the error that ended it, as JSON; ``options`` how the data is to be read.
    """

    __tablename__ = "uploads"
    __table_args__ = table_options(
        CheckConstraint("state IN ('receiving', 'ingesting', 'done', 'failed')"),
        CheckConstraint("received BETWEEN 0 AND bytes"),
        Index("uploads_by_owner", "owner", "seq"),
        Index("uploads_by_expiry", "expires_at"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    owner: str = text_column()
    name: str = text_column()
    format: str = text_column()
    filename: str = text_column()
    metadata_header: str = text_column()
    options: str = text_column()
    bytes: int = integer_column()
    received: int = integer_column()
    state: str = text_column()
    dataset_id: str | None = text_column(ForeignKey("datasets.id"), nullable=True)
    replayed: int = integer_column()
    failure: str | None = text_column(nullable=True)
    created_at: int = integer_column()
    expires_at: int = integer_column()
