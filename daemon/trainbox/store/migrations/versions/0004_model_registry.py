"""Aliases with a history, trash of models."""

from alembic import op

revision, down_revision = "0004", "0003"

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
