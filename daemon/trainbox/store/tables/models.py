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
    """One version of a model; a name belongs to its owner.

    Attributes:
        facts: what was true when it was made, as JSON: what its directory tells.
        trashed_at: when it was thrown away; names do not find it any more.
        purged_at: when its bytes were given up; the row stays, so that its number is never reused.
    """

    __tablename__ = "models"
    __table_args__ = table_options(
        UniqueConstraint("owner", "name", "version"),
        Index("models_by_name", "name", "seq"),
        Index("models_by_owner", "owner", "seq"),
        Index("models_by_job", "job_id"),
        Index("models_by_digest", "digest"),
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
    facts: str = text_column()
    created_at: int = integer_column()
    trashed_at: int | None = integer_column(nullable=True)
    purged_at: int | None = integer_column(nullable=True)


class ModelAliasRow(Row, table=True):
    """A name that points at one version of a model."""

    __tablename__ = "model_aliases"
    __table_args__ = (
        Index("model_aliases_by_model", "model_id"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    owner: str = text_column(primary_key=True)
    name: str = text_column(primary_key=True)
    alias: str = text_column(primary_key=True)
    model_id: str = text_column(ForeignKey("models.id"))
    updated_at: int = integer_column()


class ModelAliasChangeRow(Row, table=True):
    """One move of an alias; never changed, never removed.

    Attributes:
        act: ``set``, ``promote``, ``rollback`` or ``delete``.
        from_version: None where it pointed nowhere.
        to_version: None where it points nowhere any more.
    """

    __tablename__ = "model_alias_changes"
    __table_args__ = table_options(
        Index("model_alias_changes_by_alias", "owner", "name", "alias", "seq"),
    )

    seq: int | None = seq_column()
    owner: str = text_column()
    name: str = text_column()
    alias: str = text_column()
    act: str = text_column()
    from_version: int | None = integer_column(nullable=True)
    to_version: int | None = integer_column(nullable=True)
    who: str = text_column()
    reason: str = text_column()
    at: int = integer_column()


class ModelFileRow(Row, table=True):
    """One file of a model's directory, as it was put together once."""

    __tablename__ = "model_files"
    __table_args__ = (
        Index("model_files_by_digest", "digest"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    model_id: str = text_column(ForeignKey("models.id"), primary_key=True)
    path: str = text_column(primary_key=True)
    digest: str = text_column()
    bytes: int = integer_column()
    media_type: str = text_column()
