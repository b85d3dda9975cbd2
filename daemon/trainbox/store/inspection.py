"""Looking at a database file without opening the store: for doctors, backups and restores.

Read-only, beside a daemon that runs or without one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trainbox.store.audit_chain import ChainJudge, entry_of, read_anchors
from trainbox.store.connections import connect
from trainbox.store.errors import StoreError
from trainbox.store.migrate import BUNDLED
from trainbox.store.references import REFERENCES
from trainbox.store.times import moment
from trainbox_sdk.calls.tokens import AuditVerdict

TABLES = ("datasets", "jobs", "models", "events", "audit", "tokens")


@dataclass(frozen=True)
class Inspection:
    """What a database file says of itself.

    Attributes:
        problem: the first thing that is wrong, or empty.
        instance: id of the state directory it belongs to.
        version: of the trainbox that wrote it last.
        schema: its Alembic revision; :attr:`newest_schema` is what this trainbox has.
        rows: number of rows by table.
        newest_event_at: time of the newest committed fact, or None.
        audit: whether the audit log is as it was written.
    """

    problem: str
    instance: str
    version: str
    schema: str
    newest_schema: str
    rows: dict[str, int]
    newest_event_at: datetime | None
    audit: AuditVerdict

    @property
    def schema_is_newer(self) -> bool:
        """Whether a newer trainbox wrote it."""
        return self.schema > self.newest_schema


def inspect(database: Path, *, anchors: Path | None = None, thorough: bool = False) -> Inspection:
    """Look at a database.

    Args:
        database: the file.
        anchors: noted heads of its audit log, if they lie anywhere.
        thorough: also compare indexes with tables and look up every foreign key, which takes
            seconds per million rows.

    Raises:
        StoreError: it cannot be read at all.
    """
    try:
        with closing(connect(database, mode="ro")) as connection:
            connection.row_factory = sqlite3.Row
            return _inspect(connection, anchors, thorough=thorough)
    except sqlite3.Error as error:
        raise StoreError(database, f"the database cannot be read: {error}") from error


def digests(database: Path) -> frozenset[str]:
    """Return every ``sha256:<hex>`` whose bytes some row needs.

    Of a database that an older trainbox wrote too: what it has no table for, it has no rows of.

    Raises:
        StoreError: the database cannot be read.
    """
    try:
        with closing(connect(database, mode="ro")) as connection:
            return frozenset(
                str(row[0]) for sql in REFERENCES.values() for row in _rows_of(connection, sql)
            )
    except sqlite3.Error as error:
        raise StoreError(database, f"the database cannot be read: {error}") from error


def _rows_of(connection: sqlite3.Connection, sql: str) -> Iterable[Any]:
    try:
        return connection.execute(sql)
    except sqlite3.OperationalError as error:
        if not str(error).startswith("no such table: "):
            raise
        return ()


def _inspect(connection: sqlite3.Connection, anchors: Path | None, *, thorough: bool) -> Inspection:
    # Before the rows: a head that is noted later may be of a row that comes later.
    noted = read_anchors(anchors) if anchors is not None else ([], [])
    problem = _problem(connection, thorough=thorough)
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    newest = connection.execute("SELECT at FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return Inspection(
        problem=problem,
        instance=meta.get("instance", ""),
        version=meta.get("migrated_by") or meta.get("created_by", ""),
        schema=str(revision[0]) if revision else "",
        newest_schema=BUNDLED.head,
        rows={table: _count(connection, table) for table in TABLES},
        newest_event_at=moment(newest["at"]) if newest else None,
        audit=_judged(connection, ChainJudge(*noted)),
    )


def _problem(connection: sqlite3.Connection, *, thorough: bool) -> str:
    check = "integrity_check" if thorough else "quick_check"
    found = str(connection.execute(f"PRAGMA {check}(1)").fetchone()[0])
    if found != "ok":
        return found
    if not thorough:
        return ""
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    return (
        f"a row of {orphan[0]} refers to a row of {orphan[2]} that is not there" if orphan else ""
    )


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - of TABLES


def _judged(connection: sqlite3.Connection, judge: ChainJudge) -> AuditVerdict:
    for row in connection.execute("SELECT * FROM audit ORDER BY seq"):
        judge.see(entry_of(SimpleNamespace(**dict(row))))
    return judge.verdict()
