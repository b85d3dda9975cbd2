"""Datasets: upload, resume, import, find, look at, throw away, purge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from trainbox_sdk.artifacts import ArtifactFile, DatasetView
from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.profiles import DatasetProfile, TargetProfile
from trainbox_sdk.uploads import (
    DatasetFilter,
    FiledDataset,
    NewDataset,
    Preview,
    PurgeReport,
    UploadView,
)


class DatasetCalls(Protocol):
    """What can be done with data.

    A dataset is referred to by id, by ``name`` (the caller's newest version of it) or by
    ``name:version``; one in the trash by id alone. All of these raise ``NotFound`` for what is
    absent or someone else's.
    """

    async def put_dataset(
        self, who: Principal, spec: NewDataset, body: AsyncIterator[bytes]
    ) -> FiledDataset:
        """Store a dataset from a stream; nothing remains of one that fails.

        The newest version of the name is answered, and none made, if it has the same bytes.

        Raises:
            ValidationFailed: unreadable data; says row, column and rule.
            TooLarge: over the configured bytes, rows or columns.
            IdempotencyClash: the key came before with another upload.
            StorageFull: no room.
        """

    async def import_dataset(self, who: Principal, spec: NewDataset, path: str) -> FiledDataset:
        """Store a dataset from a file of the daemon's machine.

        Raises:
            Forbidden: the daemon imports no files.
            ValidationFailed: not under an allowed folder, a link, no regular file; or the data.
        """

    async def dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Return one dataset."""

    async def datasets(self, who: Principal, which: DatasetFilter) -> Page[DatasetView]:
        """List datasets."""

    async def dataset_versions(self, who: Principal, dataset: str) -> Sequence[DatasetView]:
        """Return all versions of a dataset's name, newest first, also thrown away ones."""

    async def describe_dataset(
        self,
        who: Principal,
        dataset: str,
        *,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> DatasetView:
        """Change what people say about it; None leaves as it is."""

    async def dataset_profile(self, who: Principal, dataset: str) -> DatasetProfile:
        """Return what reading it found out.

        Raises:
            NotFound: it was stored before profiles were kept, or is purged.
        """

    async def target_profile(self, who: Principal, dataset: str, target: str) -> TargetProfile:
        """Look at it for the sake of one column: classes, leaks.

        Raises:
            ValidationFailed: no such column.
        """

    async def dataset_preview(self, who: Principal, dataset: str, rows: int) -> Preview:
        """Return its first rows."""

    async def dataset_file(self, who: Principal, dataset: str) -> ArtifactFile:
        """Return its Parquet file."""

    async def dataset_csv(self, who: Principal, dataset: str) -> AsyncIterator[bytes]:
        """Return its rows as CSV, cells that a spreadsheet would compute made harmless."""

    async def trash_dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Hide it until it is restored or purged.

        Raises:
            Conflict: a job that has not ended uses it.
        """

    async def restore_dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Take it out of the trash.

        Raises:
            Conflict: it was purged.
        """

    async def purge_trash(
        self, who: Principal, *, older_than_s: float, dry_run: bool
    ) -> PurgeReport:
        """Delete the bytes of what was thrown away that long ago, and files nobody needs.

        Raises:
            Forbidden: not an admin.
        """

    def max_upload_bytes(self) -> int:
        """Return the largest upload that is taken."""

    async def create_upload(
        self, who: Principal, spec: NewDataset, *, size: int, metadata_header: str
    ) -> UploadView:
        """Announce a resumable upload of so many bytes.

        Raises:
            ValidationFailed: the name or the format.
            TooLarge: over :meth:`max_upload_bytes`.
            StorageFull: no room.
        """

    async def upload(self, who: Principal, upload_id: str, *, settle: bool = False) -> UploadView:
        """Return a resumable upload.

        Args:
            who: the caller.
            upload_id: which.
            settle: end a request that still sends to it first, so that the offset stays true.
        """

    async def append_upload(
        self, who: Principal, upload_id: str, offset: int, body: AsyncIterator[bytes]
    ) -> UploadView:
        """Take bytes from ``offset`` on; they are on the disk when this returns.

        After the last byte the data is read; the answer waits for that a little.

        Raises:
            Conflict: another offset, or an upload that takes no more bytes.
            TooLarge: more than was announced.
            StorageFull: no room; what had arrived before is kept.
        """

    async def terminate_upload(self, who: Principal, upload_id: str) -> None:
        """Forget an upload and its bytes.

        Raises:
            Conflict: it is being read.
        """
