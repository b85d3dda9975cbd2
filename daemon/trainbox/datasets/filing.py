"""From a stream of bytes to a dataset's row: checked, read, published, filed under its name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

from trainbox.blobs import BlobStore
from trainbox.cancellation import whole
from trainbox.clock import now
from trainbox.ids import is_id, new_id
from trainbox.ingest import Ingest, IngestedData
from trainbox.store import Store
from trainbox.store.datasets import Filing
from trainbox.workers.ingest_request import FORMATS, Format
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.profiles import profile_to_json
from trainbox_sdk.uploads import FiledDataset, NewDataset

MAX_NAME = 128
MAX_DESCRIPTION = 4096
MAX_LABELS = 32
MAX_LABEL = 128
_VERSIONED = re.compile(r".*:[0-9]+", re.DOTALL)


class DatasetFiler:
    """Makes datasets."""

    def __init__(self, store: Store, ingest: Ingest, blobs: BlobStore) -> None:
        self._store = store
        self._ingest = ingest
        self._blobs = blobs

    async def file(
        self, owner: str, spec: NewDataset, body: AsyncIterator[bytes], *, actor: str = ""
    ) -> FiledDataset:
        """Store a dataset from a stream; nothing remains of one that fails.

        Args:
            owner: whose it will be.
            spec: what is said of it.
            body: the bytes; what they raise passes through.
            actor: who the audit log names; empty for the owner.

        Raises:
            ValidationFailed: the name, the format, or the data.
            IdempotencyClash: the key came before with another upload.
            TooLarge: over a limit.
            StorageFull: no room.
            Unavailable: the data could not be read now.
        """
        data = await self._ingest.ingest(
            body, format=check(spec), types=spec.types, filename=spec.filename
        )
        # From here to the row also for a caller that went away: the bytes are published.
        return await whole(self._store_row(owner, spec, data, actor=actor))

    async def file_upload(
        self, owner: str, spec: NewDataset, path: Path, upload_id: str
    ) -> FiledDataset:
        """Store a dataset from a resumable upload that is done with this; the file stays.

        Raises:
            As :meth:`file`, and FileNotFoundError.
        """
        data = await self._ingest.ingest_file(
            path, format=check(spec), types=spec.types, filename=spec.filename
        )
        return await whole(self._store_row(owner, spec, data, upload_id=upload_id))

    async def _store_row(
        self,
        owner: str,
        spec: NewDataset,
        data: IngestedData,
        *,
        upload_id: str | None = None,
        actor: str = "",
    ) -> FiledDataset:
        filing = Filing(
            view=_view(owner, spec, data),
            profile=profile_to_json(data.profile),
            key=spec.idempotency_key,
            request_digest=_request_digest(spec, data.source_digest),
            upload_id=upload_id,
            actor=actor,
        )
        try:
            dataset_id, replayed = await self._store.datasets.file(filing, audit=owner)
        except BaseException:
            self._blobs.settle(data.digest)
            await self._drop(data.digest)
            raise
        self._blobs.settle(data.digest)
        found = await self._store.datasets.get(dataset_id)
        assert found is not None  # rows of datasets are never deleted
        return FiledDataset(found, replayed)

    async def _drop(self, digest: str) -> None:
        """Delete what was published for nothing, unless another row has the same bytes."""
        moment = self._blobs.moment()
        if digest not in await self._store.trash.in_use():
            await self._blobs.sweep(digest, untouched_since=moment)


def check(spec: NewDataset) -> Format:
    """Refuse a name, format, description or labels that cannot be; return the format.

    Raises:
        ValidationFailed: all of them at once.
    """
    problems = [
        *_name_problems(spec.name),
        *_format_problems(spec.format),
        *word_problems(spec.description, spec.labels),
    ]
    if problems:
        first = problems[0]
        raise ValidationFailed(f"{first.loc[0]}: {first.msg}", errors=problems)
    return next(each for each in FORMATS if each == spec.format)


def word_problems(description: str, labels: object) -> list[FieldError]:
    """Return what is wrong with what people say about a dataset."""
    found = []
    if len(description) > MAX_DESCRIPTION:
        found.append(FieldError(("description",), f"is over {MAX_DESCRIPTION} characters"))
    items = list(labels.items()) if isinstance(labels, dict) else []
    if len(items) > MAX_LABELS:
        found.append(FieldError(("labels",), f"at most {MAX_LABELS} are allowed"))
    for key, value in items:
        if not 0 < len(key) <= MAX_LABEL or len(value) > MAX_LABEL:
            found.append(FieldError(("labels", key[:40]), f"is over {MAX_LABEL} characters"))
    return found


def _name_problems(name: str) -> list[FieldError]:
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        return [FieldError(("name",), f"must be 1 to {MAX_NAME} printable characters")]
    if name in {".", ".."}:
        return [FieldError(("name",), "is a step in a path, which no URL can hold")]
    if _VERSIONED.fullmatch(name) or is_id(name, "ds"):
        hint = "a reference such as name:2 means the second version of a name"
        return [FieldError(("name",), "reads like a version or an id", hint)]
    return []


def _format_problems(given: str) -> list[FieldError]:
    if given in FORMATS:
        return []
    return [
        FieldError(("format",), f"unknown format {given[:40]!r}", f"one of {', '.join(FORMATS)}")
    ]


def _view(owner: str, spec: NewDataset, data: IngestedData) -> DatasetView:
    return DatasetView(
        id=new_id("ds"),
        name=spec.name,
        digest=data.digest,
        source_format=spec.format,
        source_digest=data.source_digest,
        bytes=data.bytes,
        rows=data.rows,
        columns=data.columns,
        owner=owner,
        created_at=now(),
        warnings=data.warnings,
        description=spec.description,
        labels=dict(spec.labels),
    )


def _request_digest(spec: NewDataset, source_digest: str) -> str:
    said = [spec.name, spec.format, spec.description, dict(spec.labels), dict(spec.types)]
    text = json.dumps([*said, source_digest], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
