"""What a write sees: statements inside a transaction that others share, and the facts it leaves."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy.dialects import sqlite

from trainbox.origin import NOWHERE, Origin
from trainbox.store.codec import dump, encodable
from trainbox.store.tables import AuditRow, EventRow, Row
from trainbox.store.times import moment, now_micros
from trainbox_sdk.jobs import JobEvent

Parameters = Mapping[str, Any] | Sequence[Any]


@cache
def insert_sql(row: type[Row]) -> str:
    """Return the INSERT of all columns but ``seq``, with named parameters; compiled once."""
    table = row.__table__  # type: ignore[attr-defined]
    names = [column.name for column in table.columns if column.name != "seq"]
    dialect = sqlite.dialect(paramstyle="named")
    return str(table.insert().compile(dialect=dialect, column_keys=names))


class Transaction:
    """One caller's part of a group commit; runs on the writer's thread.

    Attributes:
        now: the time of this write in microseconds, one for all its rows.
        events: the facts it appended, for listeners once it is committed.
    """

    __slots__ = ("_connection", "_origin", "events", "now")

    def __init__(self, connection: sqlite3.Connection, origin: Origin = NOWHERE) -> None:
        self._connection = connection
        self._origin = origin
        self.now = now_micros()
        self.events: list[JobEvent] = []

    def execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(sql, parameters)

    def one(self, sql: str, parameters: Parameters = ()) -> sqlite3.Row | None:
        """Return the first row or None."""
        row: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """Return all rows."""
        return self._connection.execute(sql, parameters).fetchall()

    def changed(self, sql: str, parameters: Parameters = ()) -> bool:
        """Run an UPDATE and return whether it changed a row: the compare of a compare-and-set."""
        return self._connection.execute(sql, parameters).rowcount > 0

    def insert(self, row: type[Row], values: Mapping[str, Any]) -> int:
        """Insert one row and return its ``seq``."""
        cursor = self._connection.execute(insert_sql(row), values)
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def event(
        self, job_id: str, kind: str, data: Mapping[str, Any], *, at: int | None = None
    ) -> None:
        """Append a fact about a job; listeners hear it after the commit."""
        at = self.now if at is None else at
        values = {"job_id": job_id, "kind": kind, "at": at, "data": dump(data)}
        seq = self.insert(EventRow, values)
        self.events.append(JobEvent(seq, job_id, kind, moment(at), data))

    def audit(self, who: str, act: str, object_id: str, note: str = "") -> None:
        """Append who did what; its hash covers the row and the hash before it."""
        last = self.one("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1")
        prev = last["hash"] if last else ""
        values: dict[str, Any] = {
            "at": self.now,
            "who": who,
            "act": act,
            "object": object_id,
            "note": encodable(note),
            "token": self._origin.token_id,
            "request": self._origin.request_id,
            "peer": self._origin.peer,
            "prev": prev,
        }
        self.insert(AuditRow, {**values, "hash": audit_hash(values)})


def audit_hash(row: Mapping[str, Any]) -> str:
    """Return the sha256 over an audit row and the hash before it, as hex.

    Rows without an origin hash as they did before there were columns for it, so that a chain begun
    by the first release goes on.
    """
    names = ["prev", "at", "who", "act", "object", "note"]
    if row["token"] or row["request"] or row["peer"]:
        names += ["token", "request", "peer"]
    return hashlib.sha256(dump([row[name] for name in names]).encode()).hexdigest()
