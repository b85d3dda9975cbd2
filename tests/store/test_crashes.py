"""What was answered is there after kill -9; a disk without room or with errors is told, not hidden."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from trainbox.store import Store
from trainbox.store.records import NewJob
from trainbox_sdk.errors import StorageFull

LOAD = """
import asyncio, os, sys
from pathlib import Path
from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import NewJob
from trainbox_sdk.errors import TrainboxError
from trainbox_sdk.jobs import JobSpec, Resources
from trainbox_sdk.tasks import StepPlan

PLAN = StepPlan("train", "demo:main", ("demo",), "tabular")

async def client(store, number):
    n = 0
    while True:
        key = f"{os.getpid()}-{number}-{n}"
        new = NewJob(new_id("job"), "ann", JobSpec("t"), Resources(), "docker", (PLAN,), key, key)
        inserted = await store.jobs.insert(new, audit="load")
        # One write per line: what the reader sees was answered, whole lines only.
        os.write(1, f"{key} {inserted.job.id}\\n".encode())
        n += 1

async def main():
    store = await Store.open(Path(sys.argv[1]))
    os.write(1, b"ready\\n")
    await asyncio.gather(*(client(store, number) for number in range(8)))

asyncio.run(main())
"""


def acked(output):
    lines = output.decode().splitlines(keepends=True)
    return dict(line.split() for line in lines if line.endswith("\n") and line != "ready\n")


@pytest.mark.parametrize("jobs", [1, 50, 400])
async def test_kill_9_under_load_loses_nothing_that_was_answered(state_dir, jobs):
    known = {}
    for _ in range(2):  # the second run starts on what the first left behind
        load = subprocess.Popen(
            [sys.executable, "-c", LOAD, str(state_dir)], stdout=subprocess.PIPE
        )
        lines = [load.stdout.readline() for _ in range(jobs + 1)]
        load.send_signal(signal.SIGKILL)
        known |= acked(b"".join(lines) + load.stdout.read())
        assert load.wait() == -9
        load.stdout.close()
        assert lines[0] == b"ready\n"
    store = await Store.open(state_dir)
    with closing(sqlite3.connect(state_dir / "trainbox.db")) as connection:
        stored = dict(connection.execute("SELECT idempotency_key, id FROM jobs"))
        per_job = [
            connection.execute(
                f"SELECT count(*) FROM jobs WHERE (SELECT count(*) FROM {table} WHERE {link}) <> 1"
            ).fetchone()[0]
            for table, link in (
                ("steps", "job_id = jobs.id"),
                ("events", "job_id = jobs.id"),
                ("audit", "object = jobs.id"),
            )
        ]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(known) >= 2 * jobs
    assert {key: stored.get(key) for key in known} == known
    assert per_job == [0, 0, 0]
    assert await store.audit.first_broken() is None
    await store.close()


def inject(state_dir, fault, calls="fdatasync"):
    """Run the load under strace with a fault at the n-th call of one thread."""
    argv = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={calls}:{fault}"]
    argv += [sys.executable, "-c", LOAD, str(state_dir)]
    return subprocess.run(argv, capture_output=True, timeout=120)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace injects the faults; install strace")
@pytest.mark.parametrize("when", [3, 8, 21])
@pytest.mark.parametrize(
    ("fault", "calls"),
    [("signal=SIGKILL", "fdatasync"), ("signal=SIGKILL", "pwrite64"), ("error=EIO", "fdatasync")],
)
async def test_a_fault_at_the_nth_call_loses_nothing_that_was_answered(
    state_dir, fault, calls, when
):
    await (await Store.open(state_dir)).close()
    ended = inject(state_dir, f"{fault}:when={when}", calls)
    assert ended.returncode != 0
    if fault == "error=EIO":
        # The store broke at the first failed sync: every later write was refused.
        assert b"store_broken" in ended.stderr or b"job store is broken" in ended.stderr
    known = acked(ended.stdout)
    store = await Store.open(state_dir)
    with closing(sqlite3.connect(state_dir / "trainbox.db")) as connection:
        stored = dict(connection.execute("SELECT idempotency_key, id FROM jobs"))
    assert {key: stored.get(key) for key in known} == known
    await store.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB of our own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "trainbox-test", str(mount)], check=True
    )
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


async def test_a_full_disk_refuses_what_does_not_fit_and_recovers_without_a_restart(
    small_disk, make
):
    state_dir = small_disk / "state"
    store = await Store.open(state_dir)
    answered = []
    with pytest.raises(StorageFull) as refused:
        while True:
            inserted = await store.jobs.insert(make.job(params={"x": "y" * 20_000}), audit="t")
            answered.append(inserted.job.id)
    assert "free some space" in refused.value.hint and refused.value.retryable
    assert answered and not store.broken
    shown = [await store.jobs.get(job_id) for job_id in answered]
    assert None not in shown  # reads go on
    # More room, as an admin would make it.
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    await store.ping()
    again = await store.jobs.insert(make.job(), audit="t")
    await store.close()
    store = await Store.open(state_dir)
    assert await store.jobs.get(again.job.id) == again.job
    assert [(await store.jobs.get(job_id)).id for job_id in answered] == answered
    await store.close()
