"""Copies of the database: made aside, checked, synced, renamed; only then are old ones dropped."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from trainbox.durable import sync, sync_directory
from trainbox.store.connections import connect
from trainbox.store.errors import StoreError
from trainbox.store.layout import BACKUPS_KEPT, Layout

ASIDE = ".partial"


def back_up(layout: Layout, label: str) -> Path:
    """Copy the database as it is now and return the copy's path; writers go on meanwhile.

    Args:
        layout: the state directory.
        label: why, part of the name, such as ``before-0002``.

    Raises:
        StoreError: the copy could not be made or is not whole.
    """
    layout.backups.mkdir(mode=0o700, exist_ok=True)
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = layout.backups / f"trainbox-{at}-{label}.db"
    copy_database(layout.database, copy)
    for old in sorted(layout.backups.glob("trainbox-*.db"))[:-BACKUPS_KEPT]:
        old.unlink()
    return copy


def first_problem(database: Path) -> str:
    """Return what SQLite's quick check finds first; empty for a sound database."""
    with closing(connect(database, mode="ro")) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return "" if found == "ok" else str(found)


def copy_database(database: Path, copy: Path) -> None:
    """Copy a database as it is now, checked and synced; under its name it is whole or absent.

    Raises:
        StoreError: the copy could not be made or is not whole.
    """
    aside = copy.with_name(copy.name + ASIDE)
    try:
        # VACUUM INTO takes an empty file that exists, so that the copy is never readable by others.
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(connect(database, mode="ro")) as source:
            source.execute("VACUUM INTO ?", (str(aside),))
        if problem := first_problem(aside):
            raise StoreError(database, f"its backup {aside} is not whole: {problem}")
        sync(aside)
        aside.rename(copy)
        sync_directory(copy.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(database, f"no backup could be made in {copy.parent}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
