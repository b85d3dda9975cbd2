"""Copy a state directory while the daemon goes on."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from trainbox.backups.manifest import (
    ANCHORS,
    BLOBS,
    DATABASE,
    MANIFEST,
    PREFIX,
    PRIVATE,
    ROUNDS,
    Manifest,
    Report,
    backups_in,
    place_of,
    read_manifest,
    sha256_of,
)
from trainbox.durable import sync, sync_directory, write_durably
from trainbox.store import inspection
from trainbox.store.backup import copy_database
from trainbox.store.errors import StoreError
from trainbox.store.inspection import Inspection
from trainbox.store.layout import Layout
from trainbox_sdk.errors import NotFound, StorageFull, ValidationFailed


class FilePurged(StoreError):
    """A row of the copied database needs a file that is gone."""


def back_up(state_dir: Path, destination: Path, report: Report) -> tuple[Path, Manifest]:
    """Copy a state directory into a new directory under ``destination``; the daemon may run.

    Raises:
        NotFound: there is no database.
        StorageFull: no room; the half-made backup is removed.
        StoreError: the database is damaged.
    """
    layout = Layout(state_dir)
    if not layout.database.is_file():
        raise NotFound(
            f"there is no database in {state_dir}",
            hint="set TRAINBOX_STATE_DIR to the daemon's state directory",
        )
    for _ in range(ROUNDS - 1):
        with suppress(FilePurged):
            return _make(layout, destination, report)
    return _make(layout, destination, report)


def _make(layout: Layout, destination: Path, report: Report) -> tuple[Path, Manifest]:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = destination / f"{PREFIX}{stamp}"
    try:
        target.mkdir(PRIVATE, parents=True)
        return target, _fill(layout, target, report)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise StorageFull(
            f"the backup could not be written to {destination}: {error.strerror}",
            hint="free some space there, or give another directory",
        ) from error
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _fill(layout: Layout, target: Path, report: Report) -> Manifest:
    report(0.0, "database")
    if layout.anchors.exists():  # before the database: a head noted later would not be in it
        shutil.copyfile(layout.anchors, target / ANCHORS)
        sync(target / ANCHORS)
    copy_database(layout.database, target / DATABASE)
    facts = inspection.inspect(target / DATABASE)
    wanted = sorted(inspection.digests(target / DATABASE))
    older = _newest_of(target.parent, facts.instance)
    size = 0
    for at, digest in enumerate(wanted):
        report(0.1 + 0.9 * at / len(wanted), f"file {at + 1} of {len(wanted)}")
        size += _keep(digest, layout.root / BLOBS, target / BLOBS, older)
    for folder in [*(target / BLOBS).glob("*/*"), *(target / BLOBS).glob("*"), target]:
        if folder.is_dir():
            sync_directory(folder)
    manifest = _describe(target, facts, len(wanted), size)
    write_durably(target / MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")
    sync_directory(target.parent)
    return manifest


def _describe(target: Path, facts: Inspection, files: int, size: int) -> Manifest:
    return Manifest(
        instance=facts.instance,
        version=version("trainbox"),
        schema=facts.schema,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        database_sha256=sha256_of(target / DATABASE),
        files=files,
        bytes=size,
        rows=facts.rows,
    )


def _newest_of(folder: Path, instance: str) -> Path | None:
    """Return the newest whole backup of the same state directory in a folder."""
    for backup in reversed(backups_in(folder)):
        with suppress(ValidationFailed):
            if read_manifest(backup).instance == instance:
                return backup
    return None


def _keep(digest: str, source: Path, target: Path, older: Path | None) -> int:
    """Bring one file into a backup and return its size: linked where an older one has it."""
    place = place_of(target, digest)
    place.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
    if older is not None:
        with suppress(OSError):
            os.link(place_of(older / BLOBS, digest), place)
            return place.stat().st_size
    original = place_of(source, digest)
    if not original.exists():
        raise FilePurged(
            original,
            f"a row needs {digest} and its file is missing",
            "restore an older backup, or delete what refers to it",
        )
    shutil.copyfile(original, place)
    sync(place)
    return place.stat().st_size
