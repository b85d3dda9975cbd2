"""Opening a state directory: everything is looked at before anything is written.

A database that should be there and is missing, empty, cut, foreign or damaged is an error with a
way out, never a reason to begin a new one: an empty queue that looks healthy is the worst loss.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import sqlite3
import stat
from contextlib import closing
from importlib.metadata import version as distribution_version
from pathlib import Path

from trainbox.durable import sync, sync_directory, write_durably
from trainbox.store.backup import first_problem
from trainbox.store.connections import APPLICATION_ID, connect
from trainbox.store.errors import StoreError
from trainbox.store.layout import Layout
from trainbox.store.migrate import bring_up_to_date, upgrade

log = logging.getLogger(__name__)

MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
FIXED_WAL_RESET = (3, 51, 3)


def prepare_directory(root: Path) -> Layout:
    """Make the state directory or check that it is ours to write.

    Raises:
        StoreError: not a directory, someone else's, or not writable.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(root, f"the state directory cannot be made: {error}") from error
    info = root.stat()
    _require_owner(root, info)
    if not info.st_mode & stat.S_IWUSR or not os.access(root, os.W_OK | os.X_OK):
        raise StoreError(root, "the state directory is not writable", f"chmod u+rwx {root}")
    return Layout(root)


def prepare_database(layout: Layout) -> str:
    """Make the database if this directory never had one, else check and migrate it; return its id.

    The caller holds the directory's lock.

    Raises:
        StoreError: names the file, what is wrong with it, and the way back.
    """
    version = distribution_version("trainbox")
    expected = _expected_instance(layout)
    try:
        if not layout.database.exists():
            if expected:
                raise StoreError(
                    layout.database,
                    f"the database of instance {expected} is missing",
                    layout.way_back(),
                )
            _create(layout, version)
        else:
            _check_file(layout)
            bring_up_to_date(layout, version)
        return _adopt(layout, expected)
    except (sqlite3.Error, OSError) as error:
        remedy = layout.way_back()
        if _no_room(error):
            remedy = f"Free space on the file system of {layout.root}, then start again."
        raise StoreError(
            layout.database, f"the database cannot be used: {error}", remedy
        ) from error


def _no_room(error: sqlite3.Error | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def begin_use(layout: Layout) -> None:
    """Take away the mark of a clean stop: from here on only a clean stop puts it back."""
    if layout.clean.exists():
        layout.clean.unlink()
        sync_directory(layout.root)
    if sqlite3.sqlite_version_info < FIXED_WAL_RESET:
        log.info(
            "SQLite %s is older than 3.51.3; one connection writes and checkpoints, which keeps"
            " clear of its WAL-reset bug",
            sqlite3.sqlite_version,
        )


def _expected_instance(layout: Layout) -> str:
    """Return the id that the marker promises; empty where no database was ever made here."""
    try:
        text = layout.marker.read_text()
    except FileNotFoundError:
        return ""
    try:
        return str(json.loads(text)["instance"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            layout.marker,
            "this file should name the instance and is unreadable",
            f"If {layout.database} is there, remove this file: it is written anew from it.",
        ) from error


def _create(layout: Layout, version: str) -> None:
    """Make a database aside and rename it, so that one under its name is always whole."""
    for leftover in layout.root.glob(".trainbox.db.new*"):
        leftover.unlink()
    aside = layout.root / ".trainbox.db.new"
    os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(connect(aside)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    upgrade(aside, version)
    with closing(connect(aside)) as connection:
        for key, value in (("instance", secrets.token_hex(6)), ("created_by", version)):
            connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
        connection.execute("PRAGMA journal_mode = wal")
    sync(aside)
    aside.rename(layout.database)
    sync_directory(layout.root)


def _check_file(layout: Layout) -> None:
    path = layout.database
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise StoreError(path, "the database is not a regular file", layout.way_back())
    _require_owner(path, info)
    if not info.st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
        raise StoreError(path, "the database is read-only", f"chmod u+rw {path}")
    _check_header(layout, info.st_size)
    clean = layout.clean.exists()
    if clean:
        return
    log.warning("the last stop was not a clean one; checking %s", path)
    if problem := first_problem(path):
        raise StoreError(path, f"the database is damaged: {problem}", layout.way_back())


def _check_header(layout: Layout, size: int) -> None:
    """Look at the first page as https://sqlite.org/fileformat.html#the_database_header has it."""
    path = layout.database
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise StoreError(path, f"the database is cut: it has {size} bytes", layout.way_back())
    if not header.startswith(MAGIC):
        raise StoreError(path, "this is not a SQLite database", layout.way_back())
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(path, "this SQLite database is not trainbox's", layout.way_back())
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    wal = layout.sidecars()[0]
    # With a log beside it a short file may be a checkpoint cut off, which SQLite completes.
    if size < pages * (page if page != 1 else 65536) and not (wal.exists() and wal.stat().st_size):
        raise StoreError(
            path,
            f"the database is cut: it has {size} bytes, its header says {pages} pages of {page}",
            layout.way_back(),
        )


def _adopt(layout: Layout, expected: str) -> str:
    """Return the instance id; write the marker where it is missing.

    Raises:
        StoreError: the marker and the database name different instances.
    """
    with closing(connect(layout.database, mode="ro")) as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = 'instance'").fetchone()
    found = str(row[0]) if row else ""
    if expected and found != expected:
        raise StoreError(
            layout.database,
            f"this is the database of instance {found or '(none)'}, but {layout.marker.name} says"
            f" that {expected} lives here",
            layout.way_back(),
        )
    if not expected:
        write_durably(layout.marker, json.dumps({"instance": found}) + "\n")
    return found


def _require_owner(path: Path, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid():
        raise StoreError(
            path,
            f"it belongs to user {info.st_uid}, and this process runs as user {os.geteuid()}",
            f"Run trainbox as that user, or: chown -R {os.geteuid()} {path}",
        )
