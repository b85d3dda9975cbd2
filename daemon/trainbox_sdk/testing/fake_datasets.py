"""The fake engine's part of :mod:`trainbox_sdk.calls`: datasets."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from trainbox_sdk.artifacts import ArtifactFile, ArtifactView, DatasetView
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import Conflict, Forbidden, NotFound, TooLarge, ValidationFailed
from trainbox_sdk.jobs import TERMINAL
from trainbox_sdk.profiles import ColumnProfile, DatasetProfile, TargetProfile
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs
from trainbox_sdk.uploads import (
    DatasetFilter,
    FiledDataset,
    FreedFile,
    NewDataset,
    Preview,
    Purged,
    PurgeReport,
    UploadFailure,
    UploadView,
)

EXPIRY = timedelta(days=1)
MAX_UPLOAD = 1024**2


class FakeDatasetCalls(FakeJobs):
    """In memory, by the same contract."""

    def _own_datasets(self, who: Principal, *, trashed: bool = False) -> list[DatasetView]:
        mine = [view for view in self._datasets.values() if view.owner == who.id]
        return [view for view in mine if trashed or view.trashed_at is None]

    async def put_dataset(
        self, who: Principal, spec: NewDataset, body: AsyncIterator[bytes]
    ) -> FiledDataset:
        """Store a CSV; the rows are counted, columns are text or number."""
        self._enter("put_dataset")
        return self._file_dataset(who.id, spec, b"".join([chunk async for chunk in body]))

    async def import_dataset(self, who: Principal, spec: NewDataset, path: str) -> FiledDataset:
        """Import nothing, as a daemon without allowed folders."""
        del who, spec, path
        self._enter("import_dataset")
        raise Forbidden("this daemon imports no files of its own machine", code="imports_disabled")

    async def dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Return a dataset by id, name or name:version."""
        self._enter("dataset")
        return self._found_dataset(who, dataset)

    async def datasets(self, who: Principal, which: DatasetFilter) -> Page[DatasetView]:
        """List datasets, newest first, whatever order was asked for."""
        self._enter("datasets")
        found = [
            view
            for view in self._own_datasets(who, trashed=True)
            if (view.trashed_at is not None) == which.trashed
            and which.name in (None, view.name)
            and which.format in (None, view.source_format)
        ]
        return fake_data.page(found, which.limit, which.after)

    async def dataset_versions(self, who: Principal, dataset: str) -> Sequence[DatasetView]:
        """Return all versions of a name."""
        self._enter("dataset_versions")
        name = self._found_dataset(who, dataset).name
        return [
            view for view in reversed(self._own_datasets(who, trashed=True)) if view.name == name
        ]

    async def describe_dataset(
        self,
        who: Principal,
        dataset: str,
        *,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> DatasetView:
        """Change what people say about it."""
        self._enter("describe_dataset")
        found = self._found_dataset(who, dataset)
        return self._put_dataset(
            replace(
                found,
                description=found.description if description is None else description,
                labels=found.labels if labels is None else dict(labels),
            )
        )

    async def dataset_profile(self, who: Principal, dataset: str) -> DatasetProfile:
        """Return the columns, and nothing of how they are spread."""
        self._enter("dataset_profile")
        found = self._found_dataset(who, dataset)
        columns = tuple(ColumnProfile(column, constant=False) for column in found.columns)
        return DatasetProfile(found.rows, columns)

    async def target_profile(self, who: Principal, dataset: str, target: str) -> TargetProfile:
        """Suspect nothing."""
        self._enter("target_profile")
        found = self._found_dataset(who, dataset)
        if found.column(target) is None:
            raise ValidationFailed(f"target: no column {target!r}")
        return TargetProfile(target, found.rows)

    async def dataset_preview(self, who: Principal, dataset: str, rows: int) -> Preview:
        """Return empty cells."""
        self._enter("dataset_preview")
        found = self._found_dataset(who, dataset)
        names = tuple(column.name for column in found.columns)
        return Preview(names, ((None,) * len(names),) * min(rows, found.rows))

    async def dataset_file(self, who: Principal, dataset: str) -> ArtifactFile:
        """Return the bytes as they came."""
        self._enter("dataset_file")
        found = self._found_dataset(who, dataset)
        view = ArtifactView(
            found.id,
            "",
            "",
            f"{found.name}.parquet",
            "dataset",
            found.digest,
            found.bytes,
            "application/vnd.apache.parquet",
            found.created_at,
        )
        return ArtifactFile(view, self._folder / found.digest.removeprefix("sha256:"))

    async def dataset_csv(self, who: Principal, dataset: str) -> AsyncIterator[bytes]:
        """Return the bytes as they came."""
        file = await self.dataset_file(who, dataset)

        async def blocks() -> AsyncIterator[bytes]:
            yield file.path.read_bytes()

        return blocks()

    async def trash_dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Hide it."""
        self._enter("trash_dataset")
        found = self._found_dataset(who, dataset)
        users = [job for job in self._jobs.values() if job.dataset_id == found.id]
        if any(job.state not in TERMINAL for job in users):
            raise Conflict("a job uses it", code="dataset_in_use")
        return self._put_dataset(replace(found, trashed_at=found.trashed_at or fake_data.now()))

    async def restore_dataset(self, who: Principal, dataset: str) -> DatasetView:
        """Take it out of the trash."""
        self._enter("restore_dataset")
        found = self._found_dataset(who, dataset)
        if found.purged_at is not None:
            raise Conflict("its bytes were purged", code="dataset_purged")
        return self._put_dataset(replace(found, trashed_at=None))

    async def purge_trash(
        self, who: Principal, *, older_than_s: float, dry_run: bool
    ) -> PurgeReport:
        """Give up everything in the trash, however young."""
        del older_than_s
        self._enter("purge_trash")
        if "admin" not in who.scopes:
            raise Forbidden("lacks the scope 'admin'")
        going = [v for v in self._datasets.values() if v.trashed_at and v.purged_at is None]
        files = tuple(FreedFile("dataset", f"sha256/{v.digest[7:]}", v.bytes) for v in going)
        for view in () if dry_run else going:
            self._put_dataset(replace(view, purged_at=fake_data.now()))
        purged = tuple(Purged("dataset", v.id, v.name, v.version, v.digest) for v in going)
        return PurgeReport(dry_run, sum(file.bytes for file in files), purged, (), files)

    # -- resumable uploads --------------------------------------------------------------------

    def max_upload_bytes(self) -> int:
        """Return a megabyte."""
        return MAX_UPLOAD

    async def create_upload(
        self, who: Principal, spec: NewDataset, *, size: int, metadata_header: str
    ) -> UploadView:
        """Announce an upload."""
        self._enter("create_upload")
        if size > MAX_UPLOAD:
            raise TooLarge("over a megabyte")
        upload = UploadView(
            id=self._id("upl"),
            owner=who.id,
            spec=spec,
            bytes=size,
            received=0,
            state="receiving",
            metadata_header=metadata_header,
            dataset_id=None,
            replayed=False,
            failure=None,
            created_at=fake_data.now(),
            expires_at=fake_data.now() + EXPIRY,
        )
        return self._keep_upload(upload, b"")

    async def upload(self, who: Principal, upload_id: str, *, settle: bool = False) -> UploadView:
        """Return an upload."""
        del settle
        self._enter("upload")
        found = self._uploads.get(upload_id)
        if found is None or found[0].owner != who.id:
            raise NotFound(f"no upload {upload_id!r}", code="upload_not_found")
        return found[0]

    async def append_upload(
        self, who: Principal, upload_id: str, offset: int, body: AsyncIterator[bytes]
    ) -> UploadView:
        """Take bytes; the last of them make the dataset."""
        self._enter("append_upload")
        view = await self.upload(who, upload_id)
        if view.state != "receiving" or offset != view.received:
            raise Conflict(f"the upload stands at {view.received}", code="wrong_offset")
        data = self._uploads[upload_id][1]
        async for chunk in body:
            if len(data) + len(chunk) > view.bytes:
                raise TooLarge("more than was announced")
            data += chunk
            self._keep_upload(replace(view, received=len(data)), data)
        view = self._uploads[upload_id][0]
        return self._ended_upload(view, data) if view.received == view.bytes else view

    async def terminate_upload(self, who: Principal, upload_id: str) -> None:
        """Forget an upload."""
        self._enter("terminate_upload")
        await self.upload(who, upload_id)
        del self._uploads[upload_id]

    # -- what they share ----------------------------------------------------------------------

    def _file_dataset(self, owner: str, spec: NewDataset, data: bytes) -> FiledDataset:
        columns, rows = fake_data.profile(data) if spec.format == "csv" else ((), 0)
        digest = hashlib.sha256(data).hexdigest()
        before = [v for v in self._datasets.values() if (v.owner, v.name) == (owner, spec.name)]
        live = [view for view in before if view.trashed_at is None]
        if live and live[-1].digest == f"sha256:{digest}":
            return FiledDataset(live[-1], replayed=True)
        (self._folder / digest).write_bytes(data)
        view = DatasetView(
            id=self._id("ds"),
            name=spec.name,
            digest=f"sha256:{digest}",
            source_format=spec.format,
            source_digest=f"sha256:{digest}",
            bytes=len(data),
            rows=rows,
            columns=columns,
            owner=owner,
            created_at=fake_data.now(),
            version=len(before) + 1,
            description=spec.description,
            labels=dict(spec.labels),
        )
        return FiledDataset(self._put_dataset(view), replayed=False)

    def _ended_upload(self, view: UploadView, data: bytes) -> UploadView:
        try:
            filed = self._file_dataset(view.owner, view.spec, data)
        except ValidationFailed as error:
            failure = UploadFailure(error.code, error.message, error.hint, error.errors)
            return self._keep_upload(replace(view, state="failed", failure=failure), b"")
        made = replace(view, state="done", dataset_id=filed.dataset.id, replayed=filed.replayed)
        return self._keep_upload(made, b"")

    def _found_dataset(self, who: Principal, reference: str) -> DatasetView:
        for view in reversed(self._own_datasets(who, trashed=True)):
            names = (view.name, f"{view.name}:{view.version}") if not view.trashed_at else ()
            if reference in (view.id, *names):
                return view
        raise NotFound(f"no dataset {reference!r}", code="dataset_not_found")

    def _put_dataset(self, view: DatasetView) -> DatasetView:
        self._datasets[view.id] = view
        return view

    def _keep_upload(self, view: UploadView, data: bytes) -> UploadView:
        self._uploads[view.id] = (view, data)
        return view
