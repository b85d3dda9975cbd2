"""Datasets: store, find, list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from trainbox_sdk.artifacts import (
    DatasetView,
)
from trainbox_sdk.calls.base import Page, Principal


class DatasetCalls(Protocol):
    """What can be done with data."""

    async def put_dataset(
        self, who: Principal, *, name: str, format: str, body: AsyncIterator[bytes]
    ) -> DatasetView:
        """Store a dataset from a stream; nothing remains of one that fails.

        Args:
            who: the caller.
            name: for people.
            format: ``csv`` or ``parquet``.
            body: the bytes.

        Raises:
            ValidationFailed: unreadable data; says row, column and rule.
            TooLarge: over the configured bytes, rows or columns.
        """

    async def dataset(self, who: Principal, dataset_id: str) -> DatasetView:
        """Return one dataset by id or, for the newest of that name, by name."""

    async def datasets(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[DatasetView]:
        """List datasets, newest first."""
