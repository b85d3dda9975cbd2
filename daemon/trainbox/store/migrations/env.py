"""Alembic's way in: the caller hands over a connection, and one transaction holds every step."""

from __future__ import annotations

from alembic import context

from trainbox.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's DDL is transactional; the caller has begun, and commits or rolls back.
    transactional_ddl=True,
)
context.run_migrations()
