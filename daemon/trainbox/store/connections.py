"""SQLite connections, each with its settings read back: what did not take is refused.

One connection writes and does all checkpoints. That is also what keeps clear of a race between two
connections that write and checkpoint at the same instant, which could corrupt a WAL database before
SQLite 3.51.3 (https://sqlite.org/wal.html, "The WAL-reset bug").
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from trainbox.store.errors import StoreError

BUSY_TIMEOUT_MS = 5000
WAL_BYTES = 8 * 1024**2
"""The log is folded back whenever it has grown by this much, so it stays near twice this."""
APPLICATION_ID = 0x54724278
"""``TrBx`` in the file header: this database is trainbox's."""

WRITER_PRAGMAS: Mapping[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit is on the disk before it is answered
    "foreign_keys": 1,
    "busy_timeout": BUSY_TIMEOUT_MS,
    # 0: the writer checkpoints by itself, since the automatic one swallows its errors.
    "wal_autocheckpoint": 0,
    "journal_size_limit": WAL_BYTES,
    "temp_store": 2,
    "trusted_schema": 0,
}
READER_PRAGMAS: Mapping[str, str | int] = {
    "query_only": 1,
    "busy_timeout": BUSY_TIMEOUT_MS,
    "wal_autocheckpoint": 0,
    "temp_store": 2,
    "trusted_schema": 0,
}


def uri(path: Path, mode: str) -> str:
    """Return a SQLite URI; ``mode`` is ``ro``, or ``rw`` which never creates a file."""
    return f"file:{quote(str(path.absolute()))}?mode={mode}"


def connect(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    """Return a connection without Python's own transactions; every BEGIN is written out."""
    return sqlite3.connect(
        uri(path, mode),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def open_writer(path: Path) -> sqlite3.Connection:
    """Return the one connection that may write.

    Raises:
        StoreError: a setting did not take.
        sqlite3.DatabaseError: the file cannot be opened or is no database.
    """
    connection = connect(path)
    try:
        connection.row_factory = sqlite3.Row
        for name, wanted in WRITER_PRAGMAS.items():
            connection.execute(f"PRAGMA {name} = {wanted}")
        for name, wanted in WRITER_PRAGMAS.items():
            require_taken(path, name, wanted, connection.execute(f"PRAGMA {name}").fetchone()[0])
    except BaseException:
        connection.close()
        raise
    return connection


def require_taken(path: Path, name: str, wanted: str | int, taken: object) -> None:
    """Raise StoreError unless SQLite reports the setting it was given."""
    if taken != wanted:
        raise StoreError(path, f"SQLite did not take {name} = {wanted}; it says {taken}")
