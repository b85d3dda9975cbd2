"""Backups of a whole state directory: database and files; checked, restored, compared.

A backup is a directory that can be looked at with ordinary tools::

    trainbox-20261121T120000Z/
      manifest.json      what this is; its name appears last, so a backup that has it is whole
      trainbox.db        the database, copied while the daemon goes on
      audit-anchors.jsonl  noted heads of the audit log, if there are any
      blobs/ab/cdef…     every file a row of that database needs, by content hash

The database is copied first and the files after it: files never change, so whatever the copy refers
to is there, unless a purge took it meanwhile; then the copy is made again. A backup beside an older
one of the same directory shares the files both have (hard links), so that each costs what is new.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainbox.durable import sync, sync_directory, write_durably
from trainbox.store import inspection
from trainbox.store.backup import copy_database
from trainbox.store.errors import StoreError
from trainbox.store.inspection import Inspection
from trainbox.store.layout import Layout
from trainbox.store.locking import DirectoryLock
from trainbox_sdk.errors import Conflict, NotFound, StorageFull, ValidationFailed

FORMAT = 1
MANIFEST, DATABASE, BLOBS, ANCHORS = "manifest.json", "trainbox.db", "blobs", "audit-anchors.jsonl"
ROUNDS = 3
"""How often a backup is begun again because a purge took a file under it."""
PREFIX = "trainbox-"
CHUNK = 1024**2
PRIVATE = 0o700

Report = Callable[[float, str], None]
"""Told the fraction done and what is being done."""


class FilePurged(StoreError):
    """A row of the copied database needs a file that is gone."""


@dataclass(frozen=True)
class Manifest:
    """What a backup is.

    Attributes:
        instance: id of the state directory it was made of.
        version: of the trainbox that made it.
        schema: of the database.
        made_at: ISO 8601, UTC.
        database_sha256: hex digest of ``trainbox.db``.
        files, bytes: number and size of the files under ``blobs``.
        rows: rows by table.
    """

    instance: str
    version: str
    schema: str
    made_at: str
    database_sha256: str
    files: int
    bytes: int
    rows: Mapping[str, int]
    format: int = FORMAT


@dataclass(frozen=True)
class Checked:
    """What a check of a backup found; it is good when ``problems`` is empty."""

    path: Path
    manifest: Manifest
    problems: tuple[str, ...]


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


def check(backup: Path, report: Report) -> Checked:
    """Look at every byte of a backup: database, foreign keys, audit chain, files, digests.

    Raises:
        ValidationFailed: this is no backup.
    """
    manifest = read_manifest(backup)
    problems = list(_check_database(backup, manifest))
    if not problems:
        wanted = sorted(inspection.digests(backup / DATABASE))
        for at, digest in enumerate(wanted):
            report(at / len(wanted), f"file {at + 1} of {len(wanted)}")
            problems += _check_file(backup, digest)
    return Checked(backup, manifest, tuple(problems))


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


def backups_in(folder: Path) -> list[Path]:
    """Return the whole backups under a directory, newest last."""
    return sorted(path.parent for path in folder.glob(f"{PREFIX}*/{MANIFEST}"))


def read_manifest(backup: Path) -> Manifest:
    """Return what a backup says it is.

    Raises:
        ValidationFailed: it has no readable manifest, or a newer trainbox made it.
    """
    try:
        document: dict[str, Any] = json.loads((backup / MANIFEST).read_text(encoding="utf-8"))
        manifest = Manifest(**document)
    except (OSError, ValueError, TypeError) as error:
        raise ValidationFailed(
            f"{backup} is not a backup: {MANIFEST}: {error}",
            hint="give the directory that 'trainbox admin backup' made",
        ) from None
    if manifest.format > FORMAT:
        raise ValidationFailed(
            f"{backup} was made by trainbox {manifest.version}, which is newer than this one",
            hint=f"install trainbox {manifest.version} or newer",
        )
    return manifest


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
        database_sha256=_sha256(target / DATABASE),
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
    place = _place(target, digest)
    place.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
    if older is not None:
        with suppress(OSError):
            os.link(_place(older / BLOBS, digest), place)
            return place.stat().st_size
    original = _place(source, digest)
    if not original.exists():
        raise FilePurged(
            original,
            f"a row needs {digest} and its file is missing",
            "restore an older backup, or delete what refers to it",
        )
    shutil.copyfile(original, place)
    sync(place)
    return place.stat().st_size


def _place(blobs: Path, digest: str) -> Path:
    """Return where a file lies; the layout of the blob store itself."""
    name = digest.removeprefix("sha256:")
    return blobs / "sha256" / name[:2] / name[2:]


def _check_database(backup: Path, manifest: Manifest) -> Iterator[str]:
    database = backup / DATABASE
    if not database.is_file():
        yield f"{DATABASE} is missing"
        return
    found = _sha256(database)
    if found != manifest.database_sha256:
        yield f"{DATABASE} has changed: its sha256 is {found}, not {manifest.database_sha256}"
        return
    facts = inspection.inspect(database, thorough=True)
    if facts.problem:
        yield f"{DATABASE} is damaged: {facts.problem}"
    if facts.audit_broken_at is not None:
        yield f"the audit log was changed at row {facts.audit_broken_at}"
    if facts.schema_is_newer:
        yield f"its schema {facts.schema} is newer than this trainbox ({facts.newest_schema})"
    if dict(facts.rows) != dict(manifest.rows):
        yield f"{DATABASE} has other rows than the manifest says"


def _check_file(backup: Path, digest: str) -> Iterator[str]:
    place = _place(backup / BLOBS, digest)
    if not place.is_file():
        yield f"{place.relative_to(backup)} is missing"
    elif f"sha256:{_sha256(place)}" != digest:
        yield f"{place.relative_to(backup)} has changed: its content has another digest"


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
        place = _place(layout.root / BLOBS, digest)
        place.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
        shutil.copyfile(_place(backup / BLOBS, digest), place)
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


def _sha256(path: Path) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            seen.update(chunk)
    return seen.hexdigest()
