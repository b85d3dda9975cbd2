"""What is asked and told of a model beside its versions: aliases, listings, its directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

ModelSort = Literal["-created_at", "created_at", "name", "-name"]
AliasAct = Literal["set", "promote", "rollback", "delete"]


@dataclass(frozen=True)
class ModelFilter:
    """Which model versions a listing shows.

    Attributes:
        alias: those that an alias of this word points at.
        trashed: those in the trash, in place of those in use.
        sort: ``name`` is by name, then by version; a minus turns it round.
    """

    name: str | None = None
    task: str | None = None
    alias: str | None = None
    trashed: bool = False
    sort: ModelSort = "-created_at"
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True)
class AliasView:
    """An alias, and the version it points at."""

    name: str
    alias: str
    version: int
    model_id: str
    updated_at: datetime


@dataclass(frozen=True)
class AliasMove:
    """A wish to point an alias of a name elsewhere.

    Attributes:
        version: where to; None for nowhere, which deletes the alias.
        expected_version: where the caller believes it points now, 0 for nowhere; the move is
            refused where that is not so. None to move it whatever it points at.
    """

    name: str
    alias: str
    version: int | None = None
    reason: str = ""
    expected_version: int | None = None
    act: AliasAct = "set"


@dataclass(frozen=True)
class AliasChange:
    """One move of an alias as its history tells it.

    Attributes:
        from_version: None where it pointed nowhere before.
        to_version: None where it was deleted.
        who: whose token it was.
    """

    seq: int
    name: str
    alias: str
    act: AliasAct
    from_version: int | None
    to_version: int | None
    who: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class ModelFile:
    """One file of a model's directory.

    Attributes:
        path: below the directory, with ``/`` between folders.
        digest: ``sha256:<hex>`` of the bytes.
    """

    path: str
    digest: str
    bytes: int
    media_type: str


@dataclass(frozen=True)
class ModelDirectory:
    """What a model version is made of, for those who take it elsewhere.

    Attributes:
        model_id: the version.
        digest: of ``manifest.json``, which has the digest of every other file: one word for all.
        files: by path.
    """

    model_id: str
    digest: str
    files: tuple[ModelFile, ...]

    def file(self, path: str) -> ModelFile | None:
        """Return the file of that path, or None."""
        return next((file for file in self.files if file.path == path), None)


@dataclass(frozen=True)
class ArchivePart:
    """A stretch of an archive: bytes in memory, or a whole file on this host.

    Attributes:
        size: in bytes.
    """

    size: int
    data: bytes = b""
    path: Path | None = None


@dataclass(frozen=True)
class ModelArchive:
    """A directory as one uncompressed tar, laid out but not written anywhere.

    Attributes:
        name: of the file, such as ``churn-v3.tar``.
        etag: the same for the same bytes.
        parts: in order; together they are the archive.
    """

    name: str
    etag: str
    parts: tuple[ArchivePart, ...]

    @property
    def bytes(self) -> int:
        """Size of the whole."""
        return sum(part.size for part in self.parts)
