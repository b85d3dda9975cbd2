"""Datasets, as surfaces see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from trainbox.datasets.filing import word_problems
from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.artifacts import ArtifactFile, ArtifactView, DatasetView
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import FieldError, NotFound, ValidationFailed
from trainbox_sdk.profiles import DatasetProfile, TargetProfile, profile_from_json
from trainbox_sdk.uploads import (
    DatasetFilter,
    FiledDataset,
    NewDataset,
    Preview,
    PurgeReport,
    UploadView,
)

PARQUET = "application/vnd.apache.parquet"


class DatasetDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.datasets.DatasetCalls`."""

    async def put_dataset(
        self, who: Principal, spec: NewDataset, body: AsyncIterator[bytes]
    ) -> FiledDataset:
        """Store a dataset from a stream."""
        self._r.access.require(who, "submit")
        return await self._r.filer.file(who.id, spec, body, actor=who.actor)

    async def import_dataset(self, who: Principal, spec: NewDataset, path: str) -> FiledDataset:
        """Store a dataset from a file of this machine."""
        self._r.access.require(who, "submit")
        async with self._r.imports.open(path) as body:
            return await self._r.filer.file(who.id, spec, body, actor=who.actor)

    async def dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Return one dataset."""
        self._r.access.require(who, "read")
        return await self._r.access.dataset(who, dataset)

    async def datasets(self, who: Principal, which: DatasetFilter) -> Page[DatasetView]:
        """List datasets."""
        self._r.access.require(who, "read")
        owner = self._r.access.owner_filter(who)
        return await self._r.store.datasets.list(owner=owner, which=which)

    async def dataset_versions(self, who: Principal, dataset: str) -> Sequence[DatasetView]:
        """Return all versions of a dataset's name."""
        found = await self.dataset(who, dataset)
        return await self._r.store.datasets.versions(found.owner, found.name)

    async def describe_dataset(
        self,
        who: Principal,
        dataset: str,
        *,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> DatasetView:
        """Change what people say about it."""
        found = await self._changeable(who, dataset, "describe")
        if problems := word_problems(description or "", labels or {}):
            raise ValidationFailed(f"{problems[0].loc[0]} {problems[0].msg}", errors=problems)
        await self._r.store.datasets.describe(
            found.id, description=description, labels=labels, who=who.actor
        )
        return await self._again(found)

    async def dataset_profile(self, who: Principal, dataset: str) -> DatasetProfile:
        """Return what reading it found out."""
        found = await self.dataset(who, dataset)
        text = await self._r.store.datasets.profile(found.id)
        if text is None:
            raise NotFound(
                f"dataset {found.id} has no profile",
                code="profile_not_found",
                hint="profiles are kept since 0.2 and go with the bytes; upload the data again",
            )
        return profile_from_json(text)

    async def target_profile(self, who: Principal, dataset: str, target: str) -> TargetProfile:
        """Look at it for the sake of one column."""
        found = await self.dataset(who, dataset)
        if found.column(target) is None:
            problem = FieldError(("query", "target"), f"no column {target[:80]!r}")
            raise ValidationFailed(f"target: {problem.msg}", errors=[problem])
        self._bytes_of(found)
        return await self._r.ingest.target_profile(found.digest, target)

    async def dataset_preview(self, who: Principal, dataset: str, rows: int) -> Preview:
        """Return its first rows."""
        found = await self.dataset(who, dataset)
        return await self._r.rows.preview(self._bytes_of(found), rows)

    async def dataset_file(self, who: Principal, dataset: str) -> ArtifactFile:
        """Return its Parquet file."""
        found = await self.dataset(who, dataset)
        view = ArtifactView(
            id=found.id,
            job_id="",
            step="",
            name=f"{found.name}.parquet",
            kind="dataset",
            digest=found.digest,
            bytes=found.bytes,
            media_type=PARQUET,
            created_at=found.created_at,
        )
        return ArtifactFile(view, self._bytes_of(found))

    async def dataset_csv(self, who: Principal, dataset: str) -> AsyncIterator[bytes]:
        """Return its rows as CSV."""
        found = await self.dataset(who, dataset)
        return self._r.rows.csv(self._bytes_of(found))

    async def trash_dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Hide it until it is restored or purged."""
        found = await self._changeable(who, dataset, "trash")
        await self._r.reserve.freeing(lambda: self._r.store.datasets.trash(found.id, who=who.actor))
        return await self._again(found)

    async def restore_dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Take it out of the trash."""
        found = await self._changeable(who, dataset, "restore")
        await self._r.store.datasets.restore(found.id, who=who.actor)
        return await self._again(found)

    async def purge_trash(
        self, who: Principal, *, older_than_s: float, dry_run: bool
    ) -> PurgeReport:
        """Give disk back."""
        self._r.access.require(who, "admin")
        return await self._r.reserve.freeing(
            lambda: self._r.trash.purge(older_than_s=older_than_s, dry_run=dry_run, who=who.actor)
        )

    # -- resumable uploads --------------------------------------------------------------------

    def max_upload_bytes(self) -> int:
        """Return the largest upload that is taken."""
        return self._r.uploads.max_bytes

    async def create_upload(
        self, who: Principal, spec: NewDataset, *, size: int, metadata_header: str
    ) -> UploadView:
        """Announce a resumable upload."""
        self._r.access.require(who, "submit")
        return await self._r.uploads.create(
            who.id, spec, size=size, metadata_header=metadata_header
        )

    async def upload(self, who: Principal, upload_id: str, *, settle: bool = False) -> UploadView:
        """Return a resumable upload."""
        self._r.access.require(who, "submit")
        found = await self._r.uploads.get(upload_id)
        if not self._r.access.may(who, "upload", found.owner):
            raise NotFound(f"no upload {upload_id!r}", code="upload_not_found")
        return await self._r.uploads.settled(upload_id) if settle else found

    async def append_upload(
        self, who: Principal, upload_id: str, offset: int, body: AsyncIterator[bytes]
    ) -> UploadView:
        """Take bytes."""
        found = await self.upload(who, upload_id)
        return await self._r.uploads.append(found.id, offset, body)

    async def terminate_upload(self, who: Principal, upload_id: str) -> None:
        """Forget an upload and its bytes."""
        found = await self.upload(who, upload_id)
        await self._r.uploads.terminate(found.id, who=who.actor)

    async def _changeable(self, who: Principal, dataset: str, action: str) -> DatasetView:
        self._r.access.require(who, "submit")
        return await self._r.access.dataset(who, dataset, action)

    async def _again(self, dataset: DatasetView) -> DatasetView:
        found = await self._r.store.datasets.get(dataset.id)
        assert found is not None  # rows of datasets are never deleted
        return found

    def _bytes_of(self, dataset: DatasetView) -> Path:
        if dataset.purged_at is not None:
            raise NotFound(
                f"the bytes of dataset {dataset.id} were purged",
                code="dataset_purged",
                hint="upload the data again",
            )
        return self._r.blobs.path(dataset.digest)
