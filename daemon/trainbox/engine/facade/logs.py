"""What jobs printed, as surfaces see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import takewhile

from trainbox.engine.facade.rooms import Desk, Rooms
from trainbox.engine.log_files import LogFile
from trainbox.engine.log_reading import LogCursor, LogShelf
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.job_logs import LogFilter, LogPage
from trainbox_sdk.jobs import JobView

LOG_POLL_S = 0.25


class LogDesk(Desk):
    """Implements the part of :class:`trainbox_sdk.calls.jobs.JobCalls` that reads logs."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(rooms)
        self._shelf = LogShelf()

    async def logs(
        self, who: Principal, job_id: str, *, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Iterate what a job printed, attempt after attempt, as one run of bytes."""
        position = offset
        job = await self._r.access.job(who, job_id)
        cursor = LogCursor()
        try:
            while True:
                ended = not follow or job.state.terminal
                logs = [log for _, log in self._logs_of(job)]
                while chunk := await asyncio.to_thread(cursor.read, logs, position):
                    position += len(chunk)
                    yield chunk
                if ended:
                    return
                await asyncio.sleep(LOG_POLL_S)
                job = await self._r.access.job(who, job_id)
        finally:
            cursor.close()

    async def log_lines(self, who: Principal, job_id: str, which: LogFilter) -> LogPage:
        """Return lines a job printed, as text fit to be shown."""
        wrong = [
            FieldError((name,), f"must be at least {least}, not {given}")
            for name, given, least in (("limit", which.limit, 1), ("offset", which.offset, 0))
            if given < least
        ]
        if wrong:
            raise ValidationFailed("These lines cannot be asked for.", errors=wrong)
        job = await self._r.access.job(who, job_id)
        return await asyncio.to_thread(self._shelf.page, self._logs_of(job), which)

    def _logs_of(self, job: JobView) -> list[tuple[int, LogFile]]:
        """Return attempts and their logs in order, up to the first log that may still grow.

        What comes behind a growing one has no fixed place yet: steps may run side by side.
        """
        attempts = [attempt for step in job.steps for attempt in step.attempts]
        attempts.sort(key=lambda attempt: attempt.id)  # ids start with their time
        ended = list(takewhile(lambda attempt: attempt.state.terminal, attempts))
        return [
            (attempt.number, LogFile(self._r.files.log(attempt.id)))
            for attempt in attempts[: len(ended) + 1]
        ]
