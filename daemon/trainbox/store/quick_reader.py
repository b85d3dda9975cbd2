"""Reads that every start waits for: one connection and its own thread, so that one costs one hop.

The pool of :mod:`trainbox.store.reader` crosses threads for every statement, which is milliseconds
where a start has a few dozen. What is read here is short: steps by index, a limited number.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from trainbox.cancellation import whole
from trainbox.store.connections import READER_PRAGMAS, connect, require_taken
from trainbox_sdk.errors import Unavailable

T = TypeVar("T")


class QuickReader:
    """One read-only connection, opened when it is first needed.

    Args:
        path: of the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-quick-reader")
        self._connection: sqlite3.Connection | None = None

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a read transaction, on the reader's thread.

        Finished whatever becomes of the caller: a transaction left open holds back checkpoints.

        Raises:
            Unavailable: the database cannot be read, or the store is closed.
        """
        loop = asyncio.get_running_loop()
        try:
            reading = loop.run_in_executor(self._thread, self._read, work)
        except RuntimeError as error:
            raise Unavailable("the job store is closed", code="stopping") from error
        try:
            return await whole(reading)
        except sqlite3.Error as error:
            raise Unavailable(
                f"the job store cannot be read: {error}", code="store_unreadable"
            ) from error

    async def close(self) -> None:
        """Finish what is under way, then close the connection."""
        await asyncio.shield(asyncio.to_thread(self._close))

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection or self._open()
        connection.execute("BEGIN")
        try:
            return work(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path, mode="ro")
        try:
            connection.row_factory = sqlite3.Row
            for name, wanted in READER_PRAGMAS.items():
                connection.execute(f"PRAGMA {name} = {wanted}")
                (taken,) = connection.execute(f"PRAGMA {name}").fetchone() or (None,)
                require_taken(self._path, name, wanted, taken)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _close(self) -> None:
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
