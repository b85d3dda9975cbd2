"""The store as the rest of the daemon holds it: opened once, closed once."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox.durable import write_durably
from trainbox.recorder import NOBODY, Recorder
from trainbox.store.aliases import AliasStore
from trainbox.store.assets import AssetStore
from trainbox.store.audit import AuditStore
from trainbox.store.backup import back_up
from trainbox.store.connections import open_writer
from trainbox.store.datasets import DatasetStore
from trainbox.store.documents import DocumentStore
from trainbox.store.errors import StoreError
from trainbox.store.events import EventStore
from trainbox.store.jobs import JobStore
from trainbox.store.layout import Layout
from trainbox.store.locking import DirectoryLock
from trainbox.store.models import ModelStore
from trainbox.store.opening import begin_use, prepare_database, prepare_directory
from trainbox.store.quick_reader import QuickReader
from trainbox.store.reader import Reader
from trainbox.store.statistics import StatisticsStore
from trainbox.store.times import now_micros
from trainbox.store.tokens import TokenStore
from trainbox.store.trash import TrashStore
from trainbox.store.uploads import UploadStore
from trainbox.store.webhooks import WebhookStore
from trainbox.store.writer import Listener, Writer
from trainbox_sdk.jobs import JobEvent

if TYPE_CHECKING:
    from trainbox.store.transaction import Transaction

log = logging.getLogger(__name__)

PING_SQL = "INSERT OR REPLACE INTO meta (key, value) VALUES ('ping', ?)"


class Store:
    """One state directory's rows. Make it with :meth:`open`, on the loop that will use it.

    Attributes:
        instance: 12 hex characters, made with the database and kept for ever.
        broken: why the store cannot go on; empty while it can. It never recovers by itself: the
            daemon ends, and its restart looks at what the disk really holds.
    """

    def __init__(
        self,
        layout: Layout,
        lock: DirectoryLock,
        instance: str,
        recorder: Recorder = NOBODY,
    ) -> None:
        self.instance = instance
        self._layout = layout
        self._lock = lock
        self._listeners: list[Listener] = []
        self._broke = asyncio.Event()
        self._closed = False
        self._reader = Reader(layout.database)
        self._writer = Writer(
            open_writer(layout.database),
            layout.sidecars()[0],
            committed=self._publish,
            broke=lambda _: self._broke.set(),
            recorder=recorder,
        )
        self._quick = QuickReader(layout.database)
        self.jobs = JobStore(self._writer, self._reader, self._quick)
        self.events = EventStore(self._reader)
        self.datasets = DatasetStore(self._writer, self._reader)
        self.assets = AssetStore(self._writer, self._reader)
        self.documents = DocumentStore(self._writer, self._reader)
        self.uploads = UploadStore(self._writer, self._reader)
        self.trash = TrashStore(self._writer)
        self.models = ModelStore(self._writer, self._reader)
        self.aliases = AliasStore(self._writer, self._reader)
        self.tokens = TokenStore(self._writer, self._reader)
        self.webhooks = WebhookStore(self._writer, self._reader)
        self.audit = AuditStore(self._writer, self._reader, layout.anchors)
        self.statistics = StatisticsStore(self._reader, layout)

    @classmethod
    async def open(cls, state_dir: Path, recorder: Recorder = NOBODY) -> Store:
        """Open a state directory, making it and its database if it never had one.

        Raises:
            StoreError: another daemon runs on it, or what is there cannot be used; the message
                names the file, the cause and the way back.
        """
        layout = await asyncio.to_thread(prepare_directory, state_dir)
        lock = DirectoryLock(layout.lock)
        try:
            instance = await asyncio.to_thread(prepare_database, layout)
            begin_use(layout)
            store = cls._start(layout, lock, instance, recorder)
        except BaseException:
            lock.release()
            raise
        try:
            await store.tokens.load()
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    def _start(
        cls, layout: Layout, lock: DirectoryLock, instance: str, recorder: Recorder
    ) -> Store:
        try:
            return cls(layout, lock, instance, recorder)
        except sqlite3.Error as error:
            raise StoreError(
                layout.database, f"the database cannot be opened: {error}", layout.way_back()
            ) from error

    @property
    def broken(self) -> str:  # noqa: D102 - the class says it
        return self._writer.broken

    @property
    def commits(self) -> int:
        """How often something was committed since the start: what was read before is old."""
        return self._writer.commits

    async def wait_broken(self) -> str:
        """Return why the store broke, once it does; the daemon then ends."""
        await self._broke.wait()
        return self.broken

    async def close(self) -> None:
        """Finish what waits, then close; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await self.tokens.settle()
        await self._reader.close()
        await self._quick.close()
        if await self._writer.stop():
            write_durably(self._layout.clean, f"{now_micros()}\n")
        self._lock.release()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear each commit's events, on the loop, in order; returns how to stop."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    async def ping(self) -> None:
        """Pass a durable write that changes nothing through the writer.

        Raises:
            Unavailable: the store is broken, stopping, or has too much to do.
            StorageFull: no room.
        """

        def write(tx: Transaction) -> None:
            tx.execute(PING_SQL, (str(tx.now),))

        await self._writer.write(write)

    async def back_up(self, label: str = "asked") -> Path:
        """Copy the database as it is now, checked and synced; return the copy's path.

        Raises:
            StoreError: the copy could not be made or is not whole.
        """
        return await asyncio.to_thread(back_up, self._layout, label)

    def _publish(self, events: Sequence[JobEvent]) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(events)
            except Exception:
                # One listener's fault must not keep the others, or the callers, from the news.
                log.exception("a listener failed on committed events")
