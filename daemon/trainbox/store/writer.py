"""The one writer: a thread with the only read-write connection, and commits in groups.

Callers hand in closures; what waits is run in one BEGIN IMMEDIATE ... COMMIT, each closure under
its own SAVEPOINT, so that many callers share one fsync and one caller's error is its own. A caller
is answered after the COMMIT returned, which with synchronous=FULL is after the disk has it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from trainbox.origin import ORIGIN, Origin
from trainbox.recorder import NOBODY, Recorder
from trainbox.store.connections import WAL_BYTES
from trainbox.store.transaction import Transaction
from trainbox_sdk.errors import StorageFull, Unavailable
from trainbox_sdk.jobs import JobEvent

T = TypeVar("T")
Work = Callable[[Transaction], T]
Listener = Callable[[Sequence[JobEvent]], None]

log = logging.getLogger(__name__)

GROUP = 512
DEPTH = 8192

FATAL = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""Primary result codes after which nothing may be promised any more, by this connection or another:
after a failed fsync the kernel may drop the pages and call the next fsync a success."""

_abandoned: list[sqlite3.Connection] = []
"""Connections of broken writers: closing one would checkpoint, and so fsync again."""


@dataclass(frozen=True)
class Request(Generic[T]):
    """A write that waits for its answer, and the request it is done for."""

    work: Work[T]
    answer: asyncio.Future[T]
    origin: Origin


@dataclass(frozen=True)
class Done:
    """A write that has its answer: a result or an error."""

    answer: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs writes in order on its own thread; made and used on one event loop.

    Args:
        connection: the read-write connection; the writer owns it from here on.
        wal: SQLite's write-ahead log file, watched for its size.
        committed: called on the loop with each commit's events in order, before callers wake.
        broke: called on the loop once, with the reason, when the writer cannot go on.
        depth: writes that may wait before more are refused.
        recorder: told of each commit, on the writer's thread.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        wal: Path,
        *,
        committed: Listener,
        broke: Callable[[str], None],
        depth: int = DEPTH,
        recorder: Recorder = NOBODY,
    ) -> None:
        self._recorder = recorder
        self._connection = connection
        self._wal = wal
        self._committed = committed
        self.commits = 0
        self._broke = broke
        self._queue: queue.Queue[Request[Any] | None] = queue.Queue(depth)
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._wal_bytes = 0
        self.broken = ""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction and return its result once it is on the disk.

        Once accepted it is carried out, even if the caller is cancelled meanwhile. It may be run
        twice, the first time rolled back: it must touch nothing but its transaction.

        Raises:
            StorageFull: no room; nothing of it was stored.
            Unavailable: too much waits, or the store is stopping or broken.
        """
        if self.broken:
            raise unavailable(self.broken)
        if self._stopping:
            raise Unavailable("the daemon is stopping", code="stopping")
        request: Request[T] = Request(work, self._loop.create_future(), ORIGIN.get())
        try:
            self._queue.put_nowait(request)
        except queue.Full:
            raise Unavailable(
                f"{self._queue.maxsize} writes wait for the disk", code="store_busy"
            ) from None
        return await request.answer

    async def stop(self) -> bool:
        """Finish what waits, fold the log into the database, close; True if all of it worked."""
        if not self._stopping:
            self._stopping = True
            await asyncio.to_thread(self._queue.put, None)
        await asyncio.to_thread(self._thread.join)
        return not self.broken

    def _run(self) -> None:
        group: list[Request[Any]] = []
        try:
            while group := self._next_group():
                self._commit(group)
                self._checkpoint_if_due()
            self._close()
        except BaseException as error:  # noqa: BLE001 - whatever it is, callers must not wait for ever
            self._die(error, group)

    def _next_group(self) -> list[Request[Any]]:
        """Wait for one request and take what else waits; empty when asked to stop."""
        first = self._queue.get()
        group = []
        while first is not None:
            group.append(first)
            if len(group) == GROUP:
                break
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
                break
        else:
            # Asked to stop: nothing is queued behind the request to stop.
            if group:
                self._queue.put(None)
        return group

    def _commit(self, group: list[Request[Any]]) -> None:
        began = time.monotonic()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            events: list[JobEvent] = []
            done = [self._one(request, events) for request in group]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - callers hear it, or the writer ends
            self._group_failed(group, error)
        else:
            self._answer(done, events)
            self._recorder.committed(len(group), time.monotonic() - began)

    def _one(self, request: Request[Any], events: list[JobEvent]) -> Done:
        transaction = Transaction(self._connection, request.origin)
        self._connection.execute("SAVEPOINT caller")
        try:
            result = request.work(transaction)
        except Exception as error:  # handed to its caller
            if spoils_the_group(error) or not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO caller")
            self._connection.execute("RELEASE caller")
            return Done(request.answer, error=error)
        self._connection.execute("RELEASE caller")
        events += transaction.events
        return Done(request.answer, result)

    def _group_failed(self, group: list[Request[Any]], error: Exception) -> None:
        if primary_code(error) in FATAL:
            raise error
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if len(group) > 1 and primary_code(error) == sqlite3.SQLITE_FULL:
            # Each alone: a small one may still fit, and only the one that does not is refused.
            for request in group:
                self._commit([request])
            return
        self._answer([Done(request.answer, error=refusal(error)) for request in group])

    def _checkpoint_if_due(self) -> None:
        """Fold the log into the database once it has grown; callers have been answered before."""
        size = self._wal.stat().st_size
        # A log that begins anew is cut to journal_size_limit, and grows from there.
        self._wal_bytes = min(self._wal_bytes, size)
        if size - self._wal_bytes < WAL_BYTES:
            return
        self._wal_bytes = size
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError as error:
            if primary_code(error) in FATAL:
                raise
            log.warning("checkpoint put off: %s", error)

    def _close(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._connection.close()

    def _die(self, error: BaseException, group: list[Request[Any]]) -> None:
        code = getattr(error, "sqlite_errorname", type(error).__name__)
        self.broken = f"{error} ({code})"
        log.critical("the job store cannot go on: %s", self.broken)
        _abandoned.append(self._connection)
        # Of the last group some may have been answered; the first answer counts.
        waiting: list[Request[Any] | None] = [*group]
        with suppress(queue.Empty):
            while True:
                waiting.append(self._queue.get_nowait())
        error = unavailable(self.broken)
        self._answer([Done(request.answer, error=error) for request in waiting if request])
        self._on_loop(self._broke, self.broken)

    def _answer(self, done: list[Done], events: Sequence[JobEvent] = ()) -> None:
        self._on_loop(self._deliver, done, events)

    def _on_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed: nobody is left to hear it, and what is committed stays committed.
            log.warning("an answer of the store found no event loop")

    def _deliver(self, done: list[Done], events: Sequence[JobEvent]) -> None:
        self.commits += 1  # before a caller wakes: what was looked up earlier is old now
        if events:
            self._committed(events)
        for each in done:
            if each.answer.done():  # its caller was cancelled
                continue
            if each.error is not None:
                each.answer.set_exception(each.error)
            else:
                each.answer.set_result(each.result)


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code of an error; 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def spoils_the_group(error: BaseException) -> bool:
    """Return whether an error inside one caller's part concerns the whole transaction."""
    return primary_code(error) in FATAL | {sqlite3.SQLITE_FULL}


def unavailable(reason: str) -> Unavailable:
    """Return the error for callers of a broken store."""
    return Unavailable(
        f"the job store is broken: {reason}",
        code="store_broken",
        hint="the daemon must be restarted; see its log",
    )


def refusal(error: Exception) -> Exception:
    """Return what the callers of a failed transaction hear."""
    if primary_code(error) == sqlite3.SQLITE_FULL:
        return StorageFull(
            "no room left for the job store",
            hint="free some space; nothing was stored, so the same request may be sent again",
        )
    if isinstance(error, sqlite3.Error):
        return Unavailable(f"the job store did not take the write: {error}", code="store_busy")
    return error
