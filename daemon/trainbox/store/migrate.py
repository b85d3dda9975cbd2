"""From any schema ever released to the newest: a backup first, then all steps in one transaction."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox.store.backup import back_up
from trainbox.store.connections import connect
from trainbox.store.errors import StoreError
from trainbox.store.layout import Layout

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)

HEAD = "0001"
"""The newest schema; a test holds it equal to the newest file under ``migrations/versions``."""


def bring_up_to_date(layout: Layout, version: str) -> Path | None:
    """Migrate an existing database if it is older; return the backup made before that.

    Args:
        layout: the state directory.
        version: of this trainbox, noted in the database.

    Raises:
        StoreError: the schema is newer than this trainbox, or a step failed and nothing changed.
    """
    current, written_by = _identity(layout.database)
    if current == HEAD:
        return None
    if not _is_known(current):
        raise StoreError(
            layout.database,
            f"its schema {current or '(none)'} was written by trainbox {written_by or 'unknown'},"
            f" which is newer than this one ({version}, schema {HEAD})",
            f"Start trainbox {written_by or 'of that version'} or newer; nothing was changed."
            f" {layout.way_back()}",
        )
    backup = back_up(layout, f"before-{HEAD}")
    log.info("schema %s -> %s, backup %s", current, HEAD, backup)
    try:
        upgrade(layout.database, version)
    except Exception as error:
        raise StoreError(
            layout.database,
            f"the migration from schema {current} to {HEAD} failed and was rolled back: {error}",
            layout.way_back(),
        ) from error
    return backup


def upgrade(database: Path, version: str) -> None:
    """Run every missing step in one transaction, together with the version they lead to."""
    from alembic import command
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def creator() -> sqlite3.Connection:
        connection = connect(database)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    engine = create_engine("sqlite://", creator=creator, poolclass=NullPool)
    with engine.connect() as connection:
        # Off while tables are rebuilt, as https://sqlite.org/lang_altertable.html tells; checked after.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        config = _config()
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


def _is_known(revision: str) -> bool:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    return revision in {script.revision for script in scripts.walk_revisions()}


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", os.pathsep and "os")
    return config
