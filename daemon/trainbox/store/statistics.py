"""Numbers about the store as a whole, for whoever watches the daemon."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from sqlalchemy import func, text
from sqlmodel import select

from trainbox.store.layout import Layout
from trainbox.store.reader import Reader
from trainbox.store.tables import JobRow, StepRow
from trainbox.store.times import now_micros
from trainbox_sdk.jobs import State

MICROS = 1_000_000
WAITING = text("state = 'queued'")  # to the letter: else SQLite does not use the partial index


@dataclass(frozen=True)
class Statistics:
    """One look.

    Attributes:
        jobs: number of jobs by state.
        queue_oldest_s: age of the oldest queued step in seconds; 0 where none waits.
        wal_bytes: size of the write-ahead log.
        backup_age_s: seconds since the newest backup was made; None where there is none.
    """

    jobs: dict[State, int]
    queue_oldest_s: float
    wal_bytes: int
    backup_age_s: float | None


class StatisticsStore:
    """Reads the numbers; never writes."""

    def __init__(self, reader: Reader, layout: Layout) -> None:
        self._reader = reader
        self._layout = layout

    async def look(self) -> Statistics:
        """Return the numbers as they are now; 0.1 s for a million jobs, beside the event loop.

        Raises:
            Unavailable: the database cannot be read.
        """
        async with self._reader.session() as session:
            counted = await session.exec(select(JobRow.state, func.count()).group_by(JobRow.state))
            jobs = dict.fromkeys(State, 0) | {State(name): int(n) for name, n in counted.all()}
            waiting = select(func.min(StepRow.queued_at)).where(WAITING)
            oldest = (await session.exec(waiting)).one()
        age_s = max(0.0, (now_micros() - oldest) / MICROS) if oldest is not None else 0.0
        wal_bytes, backup_age_s = await asyncio.to_thread(self._files)
        return Statistics(jobs, age_s, wal_bytes, backup_age_s)

    async def queued_steps(self) -> int:
        """Return how many steps wait.

        Raises:
            Unavailable: the database cannot be read.
        """
        number = select(func.count()).select_from(StepRow).where(WAITING)
        async with self._reader.session() as session:
            return int((await session.exec(number)).one())

    def _files(self) -> tuple[int, float | None]:
        wal = self._layout.sidecars()[0]
        newest = self._layout.newest_backup()
        try:
            wal_bytes = wal.stat().st_size
            made = newest.stat().st_mtime if newest else None
        except FileNotFoundError:  # one of them was just replaced
            return 0, None
        return wal_bytes, None if made is None else max(0.0, time.time() - made)
