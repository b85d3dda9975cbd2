"""Jobs, steps and attempts: named writes through the one writer, named reads through the pool."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from trainbox import states
from trainbox.cancellation import whole
from trainbox.store import guests, job_changes, listing, moves, submitting, succeeding
from trainbox.store.job_changes import Deleted
from trainbox.store.quick_reader import QuickReader
from trainbox.store.reader import Reader
from trainbox.store.records import (
    GuestEvent,
    Inserted,
    NewArtifact,
    NewJob,
    NewModel,
    Outcome,
    StepRecord,
    Succeeded,
)
from trainbox.store.step_reads import StepReads
from trainbox.store.tables import ArtifactRow, AttemptRow, JobRow, StepRow
from trainbox.store.times import micros
from trainbox.store.transaction import Transaction
from trainbox.store.views import (
    BEFORE_SQL,
    artifact_view,
    job_view,
)
from trainbox.store.writer import Writer
from trainbox_sdk.artifacts import ArtifactView
from trainbox_sdk.engine import JobFilter, Page
from trainbox_sdk.jobs import JobView, State


class JobStore(StepReads):
    """Jobs. Writes return once they are on the disk, and raise what :meth:`Writer.write` raises."""

    def __init__(self, writer: Writer, reader: Reader, quick: QuickReader) -> None:
        super().__init__(quick)
        self._writer = writer
        self._reader = reader

    async def insert(self, new: NewJob, *, audit: str) -> Inserted:
        """Store a job with its steps, its first event and an audit row.

        Args:
            new: a job that passed every check.
            audit: what the audit row notes beside owner and job, such as the surface it came by.

        Raises:
            IdempotencyClash: the key came before with another request digest.
            NotFound: no such dataset.
            ValueError: the steps are no acyclic graph, or a value is not JSON.
        """
        submission = submitting.prepare(new, audit)
        stored = await self._writer.write(submission.insert)
        if stored.job_id is None:
            return Inserted(submission.view, replayed=False, identical_to=stored.identical_to)
        return Inserted(
            await self._existing(stored.job_id),
            replayed=stored.replayed,
            reused=stored.reused,
            identical_to=stored.identical_to,
        )

    async def begin_attempt(
        self, step_id: str, *, deadline_at: datetime | None, environment_ref: str = ""
    ) -> StepRecord | None:
        """Take a queued step: ``preparing`` with a new attempt, on the disk before any sandbox.

        Returns:
            The step; None where it is not queued (any more), waits for another step, or was
            cancelled.
        """
        deadline = micros(deadline_at)
        return await self._writer.write(
            lambda tx: moves.begin_attempt(
                tx, step_id, deadline_at=deadline, environment_ref=environment_ref
            )
        )

    async def transition(
        self, step: StepRecord, before: State, after: State, outcome: Outcome | None = None
    ) -> StepRecord | None:
        """Move a step by compare-and-set on its state and attempt.

        A step that fails, is cancelled or is interrupted takes the job's queued steps with it: they
        become cancelled with the reason code ``upstream``.

        Returns:
            The step; None where another move won.

        Raises:
            IllegalTransition: the table does not have this move.
        """
        states.require(before, after)
        told = outcome or Outcome()
        return await self._writer.write(lambda tx: moves.move(tx, step, before, after, told))

    async def succeed(
        self,
        step: StepRecord,
        before: State,
        *,
        artifacts: Sequence[NewArtifact] = (),
        model: NewModel | None = None,
        outcome: Outcome | None = None,
    ) -> Succeeded | None:
        """Move a step to succeeded, with its artifacts and its model version, all or nothing.

        Returns:
            The step and the model; None, and nothing stored, where another move won.

        Raises:
            IllegalTransition: the table does not have this move.
            ValueError: the model points at an artifact that is not among ``artifacts``.
        """
        states.require(before, State.SUCCEEDED)
        told = outcome or Outcome()
        return await self._writer.write(
            lambda tx: succeeding.succeed(
                tx, step, before, artifacts=artifacts, model=model, outcome=told
            )
        )

    async def explain_wait(
        self, step_id: str, code: str, sentence: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Say why a queued step waits: an event and the job's reason, only when it is news.

        Args:
            step_id: the step.
            code: the reason's word.
            sentence: the reason.
            facts: what the event says beside it, such as the job ahead.
        """
        await self._writer.write(
            lambda tx: moves.explain_wait(tx, step_id, code, sentence, facts or {})
        )

    async def request_cancel(self, job_id: str, *, who: str) -> Sequence[StepRecord]:
        """Cancel queued steps now and mark active ones; return the active ones, to be stopped.

        Raises:
            NotFound: no such job.
            Conflict: it has ended.
        """
        return await self._writer.write(lambda tx: moves.cancel(tx, job_id, who))

    async def retry(self, job_id: str, *, who: str) -> JobView:
        """Queue the steps that did not succeed once more; the attempts so far stay as they are.

        Raises:
            NotFound: no such job.
            Conflict: it has not ended, or it has succeeded.
        """
        await self._writer.write(lambda tx: moves.retry(tx, job_id, who))
        return await self._existing(job_id)

    async def append_guest_events(
        self, step: StepRecord, events: Sequence[GuestEvent], new_offset: int
    ) -> bool:
        """Store what the guest reported between ``step.events_offset`` and ``new_offset``, once.

        The caller goes on with ``replace(step, events_offset=new_offset)``.

        Returns:
            True once stored, also if stored before; False where the attempt is no longer live.

        Raises:
            StaleOffset: ``step`` is older than the events stored for it.
        """
        return await self._writer.write(lambda tx: guests.append(tx, step, events, new_offset))

    async def append_event(self, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
        """Store a fact of the daemon's own about a job, such as a warning.

        Raises:
            NotFound: no such job.
        """

        def append(tx: Transaction) -> None:
            moves.require_job(tx, job_id)
            tx.event(job_id, kind, data)

        await self._writer.write(append)

    async def get(self, job_id: str) -> JobView | None:
        """Return one job."""
        async with self._reader.session() as session:
            jobs = (await session.exec(select(JobRow).where(col(JobRow.id) == job_id))).all()
            views = await _with_steps(session, jobs)
        return views[0] if views else None

    async def list(self, which: JobFilter, owner: str | None) -> Page[JobView]:
        """Return one page of jobs; ``owner`` None for everyone's.

        Raises:
            ValidationFailed: a cursor of another listing, or a page of no items.
        """
        size = listing.size_of_page(which)
        asked = listing.fingerprint(which, owner)
        walk = listing.page_walk(which, owner, listing.decode(asked, which.after), size + 1)
        async with self._reader.session() as session:
            connection = await session.connection()
            found = (await whole(connection.execute(text(walk.sql), walk.parameters))).all()
            shown = [listing.Place(row.key, row.seq) for row in found[:size]]
            rows = await session.exec(
                select(JobRow).where(col(JobRow.seq).in_([place.seq for place in shown]))
            )
            by_seq = {row.seq: row for row in rows}
            views = await _with_steps(session, [by_seq[place.seq] for place in shown])
        more = len(found) > size
        return Page(tuple(views), listing.encode(asked, shown[-1]) if more else None)

    async def change(
        self,
        job_id: str,
        *,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        who: str,
    ) -> JobView:
        """Replace a job's labels, give it another priority, or both or neither.

        Raises:
            NotFound: no such job.
            Conflict: another priority for a job that does not wait any more.
        """

        def change(tx: Transaction) -> None:
            if priority is not None:
                job_changes.prioritise(tx, job_id, priority, who)
            if labels is not None:
                job_changes.relabel(tx, job_id, labels, who)

        await self._writer.write(change)
        return await self._existing(job_id)

    async def delete(self, job_id: str, *, who: str) -> Deleted:
        """Hide an ended job and say which of its files nothing needs any more.

        Raises:
            NotFound: no such job.
            Conflict: it has not ended.
        """
        return await self._writer.write(lambda tx: job_changes.delete(tx, job_id, who))

    async def waiting_before(self, step: StepRecord) -> Sequence[str]:
        """Return the jobs whose steps start before this one on its backend, the next one first."""
        values = {"backend": step.backend, "priority": step.priority, "id": step.id}
        async with self._reader.session() as session:
            connection = await session.connection()
            rows = await whole(connection.execute(text(BEFORE_SQL), values))
            return [row.job_id for row in rows]

    async def ended_steps(self, step_ids: Collection[str], before: datetime) -> Sequence[str]:
        """Return which of these steps ended before a moment, the longest ago first."""
        ended = (
            select(StepRow.id)
            .join(AttemptRow, col(AttemptRow.id) == col(StepRow.attempt_id))
            .where(col(StepRow.id).in_(step_ids), col(AttemptRow.finished_at) < micros(before))
            .order_by(col(AttemptRow.finished_at), col(StepRow.id))
        )
        async with self._reader.session() as session:
            return (await session.exec(ended)).all()

    async def artifacts(self, job_id: str) -> Sequence[ArtifactView]:
        """Return what a job left behind, oldest first."""
        statement = (
            select(ArtifactRow)
            .where(col(ArtifactRow.job_id) == job_id)
            .order_by(col(ArtifactRow.seq))
        )
        async with self._reader.session() as session:
            return [artifact_view(row) for row in (await session.exec(statement)).all()]

    async def artifact(self, artifact_id: str) -> ArtifactView | None:
        """Return one artifact."""
        statement = select(ArtifactRow).where(col(ArtifactRow.id) == artifact_id)
        async with self._reader.session() as session:
            row = (await session.exec(statement)).first()
        return artifact_view(row) if row else None

    async def counts(self) -> Mapping[State, int]:
        """Return how many jobs are in each state; every state is there."""
        statement = select(JobRow.state, func.count()).group_by(col(JobRow.state))
        async with self._reader.session() as session:
            found = dict((await session.exec(statement)).all())
        return {state: found.get(state.value, 0) for state in State}

    async def _existing(self, job_id: str) -> JobView:
        view = await self.get(job_id)
        assert view is not None, job_id
        return view


async def _with_steps(session: AsyncSession, jobs: Sequence[JobRow]) -> list[JobView]:
    if not jobs:
        return []
    ids = [job.id for job in jobs]
    steps = await session.exec(
        select(StepRow).where(col(StepRow.job_id).in_(ids)).order_by(col(StepRow.position))
    )
    attempts = await session.exec(
        select(AttemptRow).where(col(AttemptRow.job_id).in_(ids)).order_by(col(AttemptRow.seq))
    )
    steps_of: dict[str, list[StepRow]] = {job_id: [] for job_id in ids}
    attempts_of: dict[str, list[AttemptRow]] = {job_id: [] for job_id in ids}
    for step in steps:
        steps_of[step.job_id].append(step)
    for attempt in attempts:
        attempts_of[attempt.job_id].append(attempt)
    return [job_view(job, steps_of[job.id], attempts_of[job.id]) for job in jobs]
