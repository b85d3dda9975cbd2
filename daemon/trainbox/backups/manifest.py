"""What a backup is, and where its parts lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbox_sdk.errors import ValidationFailed

FORMAT = 1
MANIFEST, DATABASE, BLOBS, ANCHORS = "manifest.json", "trainbox.db", "blobs", "audit-anchors.jsonl"
ROUNDS = 3
"""How often a backup is begun again because a purge took a file under it."""
PREFIX = "trainbox-"
CHUNK = 1024**2
PRIVATE = 0o700

Report = Callable[[float, str], None]
"""Told the fraction done and what is being done."""


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


def backups_in(folder: Path) -> list[Path]:
    """Return the whole backups under a directory, newest last."""
    return sorted(path.parent for path in folder.glob(f"{PREFIX}*/{MANIFEST}"))


def place_of(blobs: Path, digest: str) -> Path:
    """Return where a file lies; the layout of the blob store itself."""
    name = digest.removeprefix("sha256:")
    return blobs / "sha256" / name[:2] / name[2:]


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            seen.update(chunk)
    return seen.hexdigest()
