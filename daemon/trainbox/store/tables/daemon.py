"""Rows about the database itself, and who did what."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, text

from trainbox.store.tables.base import (
    Row,
    integer_column,
    seq_column,
    table_options,
    text_column,
)


class MetaRow(Row, table=True):
    """Facts about the database itself: ``instance``, ``created_by``, ``migrated_by``, ``ping``."""

    __tablename__ = "meta"
    __table_args__ = ({"sqlite_strict": True, "sqlite_with_rowid": False},)

    key: str = text_column(primary_key=True)
    value: str = text_column()


class AuditRow(Row, table=True):
    """Who did what; appended in the transaction of the act, never changed.

    ``hash`` covers the row and ``prev``, the hash before it. ``who`` is a subject; ``token``,
    ``request`` and ``peer`` say where it came from and are empty for the daemon's own acts.
    """

    __tablename__ = "audit"
    __table_args__ = table_options(Index("audit_by_object", "object", "seq"))

    seq: int | None = seq_column()
    at: int = integer_column()
    who: str = text_column()
    act: str = text_column()
    object: str = text_column()
    note: str = text_column()
    token: str = text_column()
    request: str = text_column()
    peer: str = text_column()
    prev: str = text_column()
    hash: str = text_column()


class TokenRow(Row, table=True):
    """A bearer token; of the secret only its sha256 is kept.

    ``subject`` is who it speaks for and what owners of things are called: it outlives the token.
    ``previous_sha256`` is the secret before the last rotation, good until ``previous_until``.
    ``source`` says who brought it: the interface, the first start, or the service's credential.
    """

    __tablename__ = "tokens"
    __table_args__ = table_options(
        Index(
            "tokens_names", "subject", "name", unique=True, sqlite_where=text("revoked_at IS NULL")
        )
    )

    seq: int | None = seq_column()
    id: str = text_column(unique=True)
    subject: str = text_column()
    name: str = text_column()
    scopes: str = text_column()
    source: str = text_column(CheckConstraint("source IN ('api', 'first', 'credential')"))
    secret_sha256: str = text_column()
    previous_sha256: str | None = text_column(nullable=True)
    previous_until: int | None = integer_column(nullable=True)
    created_at: int = integer_column()
    expires_at: int | None = integer_column(nullable=True)
    rotated_at: int | None = integer_column(nullable=True)
    revoked_at: int | None = integer_column(nullable=True)
    last_used_at: int | None = integer_column(nullable=True)
