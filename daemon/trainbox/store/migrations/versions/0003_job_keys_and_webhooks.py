"""Identical jobs, webhooks and their deliveries."""

from alembic import op

revision, down_revision = "0003", "0002"

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
