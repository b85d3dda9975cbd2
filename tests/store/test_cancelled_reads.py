"""A read whose caller leaves is finished all the same: its connection must not be lost."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from trainbox.store import Store

SLOW = text(
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000000)"
    " SELECT max(x) FROM c, (SELECT count(*) FROM jobs)"
)


async def read_slowly(store: Store) -> int:
    async with store._reader.session() as session:
        return (await session.exec(SLOW)).scalar_one()


@pytest.mark.parametrize("cancellations", [1, 2, 5])
async def test_a_cancelled_read_leaves_no_connection_behind(
    tmp_path: Path, cancellations: int
) -> None:
    """One left behind holds a read transaction, which no checkpoint can pass, and a thread."""
    before = readers()
    store = await Store.open(tmp_path)
    reads = [asyncio.create_task(read_slowly(store)) for _ in range(3)]
    for _ in range(cancellations):
        await asyncio.sleep(0.02)
        for read in reads:
            read.cancel()
    for read in reads:
        with pytest.raises(asyncio.CancelledError):
            await read
    await store.ping()
    await store.close()
    # Folded into the database whole, which an open read would have prevented.
    assert not list(tmp_path.rglob("*-wal"))
    assert readers() == before


def readers() -> int:
    return sum("_connection_worker_thread" in thread.name for thread in threading.enumerate())
