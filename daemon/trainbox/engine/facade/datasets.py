"""Datasets, as surfaces see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Literal

from trainbox.clock import now
from trainbox.engine.facade.rooms import Desk
from trainbox.ids import new_id
from trainbox_sdk.artifacts import (
    DatasetView,
)
from trainbox_sdk.engine import (
    Page,
    Principal,
)
from trainbox_sdk.errors import FieldError, NotFound, ValidationFailed

FORMATS: Mapping[str, Literal["csv", "parquet"]] = {"csv": "csv", "parquet": "parquet"}
MAX_NAME = 128


class DatasetDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.datasets.DatasetCalls`."""

    async def put_dataset(
        self,
        who: Principal,
        *,
        name: str,
        format: str,
        body: AsyncIterator[bytes],
    ) -> DatasetView:
        """Store a dataset from a stream."""
        self._r.access.require(who, "submit")
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            problem = FieldError(("name",), f"must be 1 to {MAX_NAME} printable characters")
            raise ValidationFailed(f"name: {problem.msg}", errors=[problem])
        known = FORMATS.get(format)
        if known is None:
            problem = FieldError(("format",), f"unknown format {format!r}", "csv or parquet")
            raise ValidationFailed(f"format: {problem.msg}", errors=[problem])
        data = await self._r.ingest.ingest(body, format=known)
        view = DatasetView(
            id=new_id("ds"),
            name=name,
            digest=data.digest,
            source_format=format,
            bytes=data.bytes,
            rows=data.rows,
            columns=data.columns,
            owner=who.id,
            created_at=now(),
            warnings=data.warnings,
        )
        await self._r.store.datasets.insert(view, audit=who.id)
        return view

    async def dataset(self, who: Principal, dataset_id: str) -> DatasetView:
        """Return one dataset."""
        self._r.access.require(who, "read")
        found = await self._r.access.find_dataset(who, dataset_id)
        if found is None:
            raise NotFound(f"no dataset {dataset_id!r}", code="dataset_not_found")
        return found

    async def datasets(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[DatasetView]:
        """List datasets."""
        self._r.access.require(who, "read")
        owner = self._r.access.owner_filter(who)
        return await self._r.store.datasets.list(owner=owner, limit=limit, after=after)
