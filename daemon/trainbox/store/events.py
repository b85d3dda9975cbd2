"""The event log: every committed fact, in order, for ever."""

from __future__ import annotations

from sqlalchemy import func
from sqlmodel import col, select

from trainbox.store.reader import Reader
from trainbox.store.tables import EventRow
from trainbox.store.views import event_view
from trainbox_sdk.jobs import JobEvent


class EventStore:
    """Reads of the event log; :class:`~trainbox.store.jobs.JobStore` writes it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def after(self, seq: int, *, job_id: str | None, limit: int = 500) -> list[JobEvent]:
        """Return up to ``limit`` events with a higher ``seq``, in order; of one job or of all."""
        statement = select(EventRow).where(col(EventRow.seq) > seq)
        if job_id is not None:
            statement = statement.where(col(EventRow.job_id) == job_id)
        statement = statement.order_by(col(EventRow.seq)).limit(limit)
        async with self._reader.session() as session:
            return [event_view(row) for row in (await session.exec(statement)).all()]

    async def last(self, job_id: str, kind: str) -> JobEvent | None:
        """Return a job's newest event of a kind."""
        statement = (
            select(EventRow)
            .where(col(EventRow.job_id) == job_id, col(EventRow.kind) == kind)
            .order_by(col(EventRow.seq).desc())
            .limit(1)
        )
        async with self._reader.session() as session:
            row = (await session.exec(statement)).first()
        return event_view(row) if row else None

    async def last_seq(self) -> int:
        """Return the newest event's ``seq``; 0 before the first."""
        async with self._reader.session() as session:
            return (await session.exec(select(func.max(col(EventRow.seq))))).one() or 0
