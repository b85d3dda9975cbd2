"""Reads: a small pool of read-only connections; each read sees one moment of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, event
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlmodel.ext.asyncio.session import AsyncSession

from trainbox.cancellation import whole
from trainbox.store.connections import READER_PRAGMAS, require_taken
from trainbox_sdk.errors import Unavailable

POOL = 4
POOL_TIMEOUT_S = 30.0


class _Session(AsyncSession):
    """A session whose calls are finished, whatever becomes of the caller.

    SQLAlchemy gives up a connection whose call is cancelled, but its thread keeps it, with a read
    transaction that holds back every later checkpoint and keeps the process from ending.
    """

    if not TYPE_CHECKING:  # the types are the base's

        async def exec(self, *args: Any, **kwargs: Any) -> Any:
            return await whole(super().exec(*args, **kwargs))

        async def connection(self, *args: Any, **kwargs: Any) -> Any:
            return await whole(super().connection(*args, **kwargs))


class Reader:
    """The pool. Opens its connections as they are needed and never writes or checkpoints."""

    def __init__(self, path: Path) -> None:
        file = f"file:{quote(str(path.absolute()))}"
        self._engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=file, query={"mode": "ro", "uri": "true"}),
            connect_args={"isolation_level": None, "cached_statements": 256},
            poolclass=AsyncAdaptedQueuePool,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
        )
        event.listen(self._engine.sync_engine, "connect", lambda raw, _: _configure(raw, path))
        event.listen(self._engine.sync_engine, "begin", _begin)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a read transaction.

        Raises:
            Unavailable: the database cannot be read, or every connection stays taken.
        """
        session = _Session(self._engine, expire_on_commit=False)
        try:
            try:
                yield session
            finally:
                await whole(session.close())
        except (DBAPIError, PoolTimeoutError) as error:
            raise Unavailable(
                f"the job store cannot be read: {error}", code="store_unreadable"
            ) from error

    async def close(self) -> None:
        """Close every connection and end its thread."""
        # Shielded: a connection left open keeps its thread, and the thread keeps the process.
        await asyncio.shield(self._engine.dispose())


def _configure(connection: DBAPIConnection, path: Path) -> None:
    cursor = connection.cursor()
    for name, wanted in READER_PRAGMAS.items():
        cursor.execute(f"PRAGMA {name} = {wanted}")
        cursor.execute(f"PRAGMA {name}")
        (taken,) = cursor.fetchone() or (None,)
        require_taken(path, name, wanted, taken)
    cursor.close()


def _begin(connection: Connection) -> None:
    # Python's own driver would begin only before a write: two SELECTs would see two moments.
    connection.exec_driver_sql("BEGIN")
