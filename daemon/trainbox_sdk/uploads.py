"""What is said of data on its way in, of the trash, and of what a purge gave back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from trainbox_sdk.artifacts import ColumnType, DatasetView
from trainbox_sdk.errors import DataFault, FieldError

UploadState = Literal["receiving", "ingesting", "done", "failed"]


@dataclass(frozen=True)
class NewDataset:
    """What a caller says of the data beside the data.

    Attributes:
        name: for people; the next version of it is made. Not ending in ``:`` and a number.
        format: ``csv``, ``jsonl``, ``parquet`` or ``arrow``.
        filename: as the caller calls the file, for messages; may be empty.
        description: free text.
        labels: for people and filters.
        types: column to type; every value that does not fit is then a fault.
        idempotency_key: the same key with the same bytes makes one dataset.
    """

    name: str
    format: str
    filename: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True)
class FiledDataset:
    """A dataset, and whether it had been there before this upload."""

    dataset: DatasetView
    replayed: bool


@dataclass(frozen=True)
class UploadFailure:
    """Why an upload made no dataset.

    Attributes:
        faults: the first 100 places in the data that cannot be taken.
    """

    code: str
    message: str
    hint: str = ""
    errors: tuple[FieldError, ...] = ()
    faults: tuple[DataFault, ...] = ()


@dataclass(frozen=True)
class UploadView:
    """A resumable upload.

    Attributes:
        bytes: what was announced.
        received: what is on the disk; the next byte to send.
        metadata_header: ``Upload-Metadata`` as it came.
        dataset_id: once it is ``done``.
        replayed: the dataset had been there before.
        failure: once it has ``failed``.
        expires_at: when it is forgotten, unless something comes before.
    """

    id: str
    owner: str
    spec: NewDataset
    bytes: int
    received: int
    state: UploadState
    metadata_header: str
    dataset_id: str | None
    replayed: bool
    failure: UploadFailure | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Preview:
    """The first rows of a dataset; cells are JSON values in the order of ``columns``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class DatasetFilter:
    """Which datasets a listing shows.

    Attributes:
        name: exactly this one.
        format: as uploaded.
        trashed: what is in the trash instead of what is not.
        sort: ``created``, ``name``, ``rows`` or ``bytes``; falling with a ``-`` before it.
    """

    name: str | None = None
    format: str | None = None
    trashed: bool = False
    sort: str = "-created"
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True)
class Purged:
    """A thing whose bytes were given up; its row stays, so that what names it still reads well."""

    kind: str
    id: str
    name: str
    version: int
    digest: str


@dataclass(frozen=True)
class Kept:
    """A thing in the trash that a purge left alone, and why."""

    kind: str
    id: str
    name: str
    version: int
    reason: str


@dataclass(frozen=True)
class FreedFile:
    """A file that was deleted.

    Attributes:
        what: ``dataset``, ``model``, or ``orphan`` for one that nothing points at.
        path: below ``blobs`` in the state directory.
    """

    what: str
    path: str
    bytes: int


@dataclass(frozen=True)
class PurgeReport:
    """What a purge did, or with ``dry_run`` would do.

    Attributes:
        freed_bytes: sum over ``files``.
    """

    dry_run: bool
    freed_bytes: int
    purged: tuple[Purged, ...]
    kept: tuple[Kept, ...]
    files: tuple[FreedFile, ...]
