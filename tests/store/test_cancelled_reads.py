"""A read whose caller leaves is finished all the same: its connection must not be lost."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path

from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import NewJob
from trainbox_sdk.engine import JobFilter
from trainbox_sdk.jobs import JobSpec, Resources
from trainbox_sdk.tasks import StepPlan


async def test_cancelled_reads_leave_no_connection_behind(tmp_path: Path) -> None:
    """One left behind holds a read transaction, which no checkpoint can pass, and a thread."""
    before = readers()
    chance = random.Random(7)
    step = StepPlan("train", "a.b:c", ("a",), "plain")
    for _ in range(12):
        store = await Store.open(tmp_path)
        jobs = [
            NewJob(new_id("job"), "ann", JobSpec("t"), Resources(), "docker", (step,))
            for _ in range(5)
        ]
        await asyncio.gather(*(store.jobs.insert(job, audit="test") for job in jobs))
        reads = [
            asyncio.create_task(read)
            for _ in range(3)
            for read in (
                store.jobs.active_steps(),
                store.jobs.queued_steps(limit=100),
                store.jobs.list(JobFilter(), None),
                store.events.after(0, job_id=None),
            )
        ]
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(chance.random() * 0.01)
            for task in reads:
                task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        await store.close()
        # Folded into the database whole, which an open read would have prevented.
        assert not list(tmp_path.rglob("*-wal"))
    assert readers() == before


def readers() -> int:
    return sum("_connection_worker_thread" in thread.name for thread in threading.enumerate())
