"""Which steps there are to drive: what schedulers and drivers read, over the quick reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.store.quick_reader import QuickReader
from trainbox.store.records import StepRecord
from trainbox.store.views import (
    ACTIVE_STEPS_SQL,
    LIVE_STEPS_SQL,
    ONE_STEP_SQL,
    QUEUED_STEPS_SQL,
    step_record,
)


class StepReads:
    """Reads of steps; each sees one moment of the database.

    Args:
        quick: what reads them.
    """

    def __init__(self, quick: QuickReader) -> None:
        self._quick = quick

    async def live_steps(self) -> Sequence[StepRecord]:
        """Return every step that has not ended, oldest first, those that wait for others too."""
        return await self._steps(LIVE_STEPS_SQL, {})

    async def active_steps(self) -> Sequence[StepRecord]:
        """Return every step between queued and its end: those that may have a sandbox."""
        return await self._steps(ACTIVE_STEPS_SQL, {})

    async def queued_steps(self, *, limit: int, backend: str | None = None) -> Sequence[StepRecord]:
        """Return steps that wait for nothing but a slot, by priority and then age.

        Args:
            limit: how many at most.
            backend: only those that wait for this one.
        """
        return await self._steps(QUEUED_STEPS_SQL, {"limit": limit, "backend": backend})

    async def active_and_queued(
        self, *, limit: int
    ) -> tuple[Sequence[StepRecord], Sequence[StepRecord]]:
        """Return :meth:`active_steps` and the first :meth:`queued_steps` of one moment.

        Args:
            limit: how many queued ones at most.
        """
        first = {"limit": limit, "backend": None}
        return await self._quick.read(
            lambda connection: (
                _records(connection, ACTIVE_STEPS_SQL, {}),
                _records(connection, QUEUED_STEPS_SQL, first),
            )
        )

    async def step(self, step_id: str) -> StepRecord | None:
        """Return one step."""
        found = await self._steps(ONE_STEP_SQL, {"id": step_id})
        return found[0] if found else None

    async def _steps(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[StepRecord]:
        return await self._quick.read(lambda connection: _records(connection, sql, parameters))


def _records(
    connection: sqlite3.Connection, sql: str, parameters: Mapping[str, Any]
) -> Sequence[StepRecord]:
    return [step_record(row) for row in connection.execute(sql, parameters)]
