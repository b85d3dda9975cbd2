"""Rows of models."""

from __future__ import annotations

from sqlalchemy import (
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


class ModelRow(Row, table=True):
    """One version of a named model."""

    __tablename__ = "models"
    __table_args__ = table_options(
        UniqueConstraint("name", "version"),
        Index("models_by_owner", "owner", "seq"),
        Index("models_by_job", "job_id"),
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    name: str = text_column()
    version: int = integer_column()
    owner: str = text_column()
    job_id: str = text_column(ForeignKey("jobs.id"))
    task: str = text_column()
    artifact_id: str = text_column(ForeignKey("artifacts.id"))
    digest: str = text_column()
    bytes: int = integer_column()
    dataset_id: str | None = text_column(ForeignKey("datasets.id"), nullable=True)
    signature: str = text_column()
    metrics: str = text_column()
    parity: str = text_column()
    created_at: int = integer_column()


class ModelAliasRow(Row, table=True):
    """A name that points at one version of a model."""

    __tablename__ = "model_aliases"
    __table_args__ = (
        Index("model_aliases_by_model", "model_id"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    name: str = text_column(primary_key=True)
    alias: str = text_column(primary_key=True)
    model_id: str = text_column(ForeignKey("models.id"))
    updated_at: int = integer_column()
