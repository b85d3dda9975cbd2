"""Rotation and limits of tokens."""

from alembic import op

revision, down_revision = "0005", "0004"

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
