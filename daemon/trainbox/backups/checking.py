"""Look at every byte of a backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainbox.backups.manifest import (
    ANCHORS,
    BLOBS,
    DATABASE,
    Manifest,
    Report,
    place_of,
    read_manifest,
    sha256_of,
)
from trainbox.store import inspection


@dataclass(frozen=True)
class Checked:
    """What a check of a backup found; it is good when ``problems`` is empty."""

    path: Path
    manifest: Manifest
    problems: tuple[str, ...]


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


def _check_database(backup: Path, manifest: Manifest) -> Iterator[str]:
    database = backup / DATABASE
    if not database.is_file():
        yield f"{DATABASE} is missing"
        return
    found = sha256_of(database)
    if found != manifest.database_sha256:
        yield f"{DATABASE} has changed: its sha256 is {found}, not {manifest.database_sha256}"
        return
    facts = inspection.inspect(database, anchors=backup / ANCHORS, thorough=True)
    if facts.problem:
        yield f"{DATABASE} is damaged: {facts.problem}"
    for fault in facts.audit.faults:
        yield f"the audit log is not as it was written: {fault}"
    if facts.schema_is_newer:
        yield f"its schema {facts.schema} is newer than this trainbox ({facts.newest_schema})"
    if dict(facts.rows) != dict(manifest.rows):
        yield f"{DATABASE} has other rows than the manifest says"


def _check_file(backup: Path, digest: str) -> Iterator[str]:
    place = place_of(backup / BLOBS, digest)
    if not place.is_file():
        yield f"{place.relative_to(backup)} is missing"
    elif f"sha256:{sha256_of(place)}" != digest:
        yield f"{place.relative_to(backup)} has changed: its content has another digest"
