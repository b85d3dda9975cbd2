"""From any released schema to the newest: a backup first, then all steps in one transaction."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox.store.backup import back_up
from trainbox.store.connections import connect
from trainbox.store.errors import StoreError
from trainbox.store.layout import Layout

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Migrations:
    """A folder of Alembic steps and the schema the last of them leads to."""

    folder: Path
    head: str


BUNDLED = Migrations(Path(__file__).with_name("migrations"), "0006")
"""What this trainbox ships; a test holds the number equal to the newest file."""


def bring_up_to_date(layout: Layout, version: str, migrations: Migrations = BUNDLED) -> Path | None:
    """Migrate an existing database if it is older; return the backup made before that.

    Args:
        layout: the state directory.
        version: of this trainbox, noted in the database.
        migrations: the steps.

    Raises:
        StoreError: the schema is newer than this trainbox, or a step failed and nothing changed.
    """
    current, written_by = _identity(layout.database)
    if current == migrations.head:
        return None
    if not current:
        raise StoreError(layout.database, "it does not say which schema it has", layout.way_back())
    if current not in _revisions(migrations):
        raise StoreError(
            layout.database,
            f"its schema {current} was written by trainbox {written_by or 'unknown'}, which is"
            f" newer than this one (trainbox {version}, schema {migrations.head})",
            f"Nothing was changed. Install trainbox {written_by or 'of that version'} or newer."
            f" {layout.way_back()}",
        )
    backup = back_up(layout, f"before-{migrations.head}")
    log.info("schema %s -> %s, backup %s", current, migrations.head, backup)
    try:
        upgrade(layout.database, version, migrations)
    except Exception as error:
        # Whatever a step raises, the operator needs the same sentence.
        raise StoreError(
            layout.database,
            f"the migration from schema {current} to {migrations.head} failed: {error}",
            f"It was rolled back, so trainbox {written_by} still runs on it. A copy from before is"
            f" {backup}.",
        ) from error
    return backup


def upgrade(database: Path, version: str, migrations: Migrations = BUNDLED) -> None:
    """Run every missing step in one transaction, together with the version they lead to.

    Raises:
        sqlite3.Error: what SQLite said, out of SQLAlchemy's wrapping.
    """
    from sqlalchemy.exc import DBAPIError

    try:
        _upgrade(database, version, migrations)
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from None
        raise


def _upgrade(database: Path, version: str, migrations: Migrations) -> None:
    from alembic import command
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def creator() -> sqlite3.Connection:
        connection = connect(database)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    engine = create_engine("sqlite://", creator=creator, poolclass=NullPool)
    with engine.connect() as connection:
        # Off while tables are rebuilt (https://sqlite.org/lang_altertable.html); checked after.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        config = _config(migrations)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if wrong := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise sqlite3.IntegrityError(f"a row of {wrong[0]} points at nothing")
        connection.exec_driver_sql(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('migrated_by', ?)", (version,)
        )
        connection.commit()
    engine.dispose()


def _identity(database: Path) -> tuple[str, str]:
    """Return the schema's number and who wrote it; empty where the database does not say."""
    with closing(connect(database, mode="ro")) as connection:
        return (
            _scalar(connection, "SELECT version_num FROM alembic_version"),
            _scalar(connection, "SELECT value FROM meta WHERE key = 'migrated_by'"),
        )


def _scalar(connection: sqlite3.Connection, sql: str) -> str:
    try:
        row = connection.execute(sql).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return ""
        raise
    return str(row[0]) if row else ""


def _revisions(migrations: Migrations) -> set[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config(migrations))
    return {script.revision for script in scripts.walk_revisions()}


def _config(migrations: Migrations) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations.folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
