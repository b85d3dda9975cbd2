"""The short reads of a start: of one moment, finished whoever leaves, and none after the end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from trainbox.store import Store
from trainbox_sdk.errors import Unavailable

SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 300000) SELECT max(x) FROM c"


async def test_a_cancelled_read_leaves_no_transaction_behind(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)

    def slowly(connection: sqlite3.Connection) -> int:
        connection.execute("SELECT count(*) FROM jobs").fetchone()
        return int(connection.execute(SLOW).fetchone()[0])

    reading = asyncio.create_task(store._quick.read(slowly))
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await store.ping()
    await store.close()
    assert not list(tmp_path.rglob("*-wal"))
    assert not [t for t in threading.enumerate() if "store-quick-reader" in t.name]


async def test_an_error_spoils_no_later_read(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    with pytest.raises(Unavailable, match="no such table"):
        await store._quick.read(lambda connection: connection.execute("SELECT 1 FROM nowhere"))
    assert await store.jobs.active_and_queued(limit=1) == ([], [])
    await store.close()


async def test_it_writes_nothing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    with pytest.raises(Unavailable, match="readonly"):
        await store._quick.read(lambda connection: connection.execute("DELETE FROM meta"))
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.close()
    with pytest.raises(Unavailable) as raised:
        await store.jobs.active_steps()
    assert raised.value.code == "stopping"
