"""Put a checked backup in the place of a state directory."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from trainbox.backups.checking import check
from trainbox.backups.manifest import (
    ANCHORS,
    BLOBS,
    DATABASE,
    PRIVATE,
    Report,
    place_of,
)
from trainbox.durable import sync, sync_directory, write_durably
from trainbox.store import inspection
from trainbox.store.backup import copy_database
from trainbox.store.errors import StoreError
from trainbox.store.layout import Layout
from trainbox.store.locking import DirectoryLock
from trainbox_sdk.errors import Conflict, ValidationFailed


def restore(backup: Path, state_dir: Path, report: Report, *, replace: bool) -> Path | None:
    """Put a checked backup in the place of a state directory; the daemon must not run.

    Args:
        backup: the directory :func:`back_up` made.
        state_dir: where it goes.
        report: told how far it is.
        replace: whether what is there may be moved aside.

    Returns:
        Where the former state was moved to, or None if there was none.

    Raises:
        ValidationFailed: the backup is not whole.
        Conflict: the daemon runs, or there is state and ``replace`` is false.
    """
    checked = check(backup, lambda done, what: report(done / 2, f"checking {what}"))
    if checked.problems:
        raise ValidationFailed(
            f"the backup {backup} is not whole: {checked.problems[0]}",
            hint="nothing was changed; restore another backup",
        )
    state_dir.mkdir(PRIVATE, parents=True, exist_ok=True)
    layout = Layout(state_dir)
    lock = _lock(layout)
    try:
        aside = _move_aside(layout, replace=replace)
        _put_back(backup, layout, lambda done, what: report(0.5 + done / 2, what))
    finally:
        lock.release()
    return aside


def _lock(layout: Layout) -> DirectoryLock:
    try:
        return DirectoryLock(layout.lock)
    except StoreError as error:
        raise Conflict(
            f"{error}", code="daemon_runs", hint="stop the daemon, then restore"
        ) from error


def _move_aside(layout: Layout, *, replace: bool) -> Path | None:
    there = [
        path
        for path in (
            layout.database,
            *layout.sidecars(),
            layout.marker,
            layout.clean,
            layout.anchors,
            layout.root / BLOBS,
            layout.root / "token",
        )
        if path.exists()
    ]
    if not there:
        return None
    if not replace:
        raise Conflict(
            f"there is state in {layout.root} already ({there[0].name})",
            code="state_exists",
            hint="add --replace to move it aside, or set TRAINBOX_STATE_DIR to an empty directory",
        )
    aside = layout.root / f"replaced-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%fZ')}"
    aside.mkdir(PRIVATE)
    for path in there:
        path.rename(aside / path.name)
    sync_directory(layout.root)
    return aside


def _put_back(backup: Path, layout: Layout, report: Report) -> None:
    """Files first, the database last: a restore cut short leaves no database to start with."""
    wanted = sorted(inspection.digests(backup / DATABASE))
    folders = set()
    for at, digest in enumerate(wanted):
        report(at / len(wanted), f"file {at + 1} of {len(wanted)}")
        place = place_of(layout.root / BLOBS, digest)
        place.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
        shutil.copyfile(place_of(backup / BLOBS, digest), place)
        place.chmod(0o440)
        sync(place)
        folders.add(place.parent)
    for folder in folders:
        sync_directory(folder)
    report(1.0, "database")
    if (backup / ANCHORS).exists():
        write_durably(layout.anchors, (backup / ANCHORS).read_text(encoding="utf-8"))
    copy_database(backup / DATABASE, layout.database)
    instance = inspection.inspect(layout.database).instance
    write_durably(layout.marker, json.dumps({"instance": instance}) + "\n")
