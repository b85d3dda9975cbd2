"""The fake engine's part of :mod:`trainbox_sdk.calls`: datasets."""

import hashlib
from collections.abc import AsyncIterator

from trainbox_sdk.artifacts import (
    DatasetView,
)
from trainbox_sdk.engine import (
    Page,
    Principal,
)
from trainbox_sdk.errors import (
    NotFound,
)
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeDatasetCalls(FakeJobs):
    """In memory, by the same contract."""

    async def put_dataset(
        self,
        who: Principal,
        *,
        name: str,
        format: str,
        body: AsyncIterator[bytes],
    ) -> DatasetView:
        """Store a CSV; the rows are counted, columns are text or number."""
        self._enter("put_dataset")
        data = b"".join([chunk async for chunk in body])
        columns, rows = fake_data.profile(data) if format == "csv" else ((), 0)
        view = DatasetView(
            id=self._id("ds"),
            name=name or "dataset",
            digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
            source_format=format,
            bytes=len(data),
            rows=rows,
            columns=columns,
            owner=who.id,
            created_at=fake_data.now(),
        )
        self._datasets[view.id] = view
        return view

    async def dataset(self, who: Principal, dataset_id: str) -> DatasetView:
        """Return a dataset by id or name."""
        self._enter("dataset")
        mine = [view for view in self._datasets.values() if view.owner == who.id]
        for view in reversed(mine):
            if dataset_id in (view.id, view.name):
                return view
        raise NotFound(f"no dataset {dataset_id!r}", code="dataset_not_found")

    async def datasets(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[DatasetView]:
        """List datasets, newest first."""
        self._enter("datasets")
        return fake_data.page(
            [v for v in self._datasets.values() if v.owner == who.id], limit, after
        )
