"""A database of the first release keeps its jobs and gains labels, durations and webhooks."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from trainbox.store import Store, migrate
from trainbox.store.connections import APPLICATION_ID
from trainbox_sdk.calls.jobs import JobFilter, JobSort

JOB = {
    "owner": "ann", "name": "churn", "task": "t", "params": '{"a":1}', "spec_resources": "{}",
    "resources": '{"cpus":1,"memory_bytes":1,"gpus":0,"timeout_s":1}', "priority": 3,
    "labels": '{"team":"crm","x:y":"z"}', "backend": "docker", "reason_code": "", "reason": "",
    "progress": 1.0, "metrics": "{}", "request_digest": "",
}  # fmt: skip


def first_release(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.BUNDLED.folder, folder)
    for path in (folder / "versions").glob("000[2-9]_*.py"):
        path.unlink()
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    database = state / "trainbox.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate.upgrade(database, "0.1", migrate.Migrations(folder, "0001"))
    return state


def insert(connection, **values):
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", values)


async def test_nothing_is_lost(tmp_path):
    state = first_release(tmp_path)
    with closing(sqlite3.connect(state / "trainbox.db")) as connection:
        connection.execute("INSERT INTO meta VALUES ('instance', 'abc')")
        insert(connection, id="job_a", state="succeeded", created_at=1, started_at=5,
               finished_at=2_000_005, **JOB)  # fmt: skip
        insert(connection, id="job_b", state="cancelled", created_at=2, finished_at=9, **JOB)
        insert(connection, id="job_c", state="queued", created_at=3, **{**JOB, "labels": "{}"})
        connection.execute("DELETE FROM jobs WHERE id = 'job_c'")
        connection.execute(
            "INSERT INTO events (job_id, kind, at, data) VALUES ('job_a', 'state', 1, '{}')"
        )
        connection.commit()
    (state / "trainbox.db").chmod(0o600)
    store = await Store.open(state)
    listed = await store.jobs.list(JobFilter(), None)
    assert [job.id for job in listed.items] == ["job_b", "job_a"]
    [found] = (await store.jobs.list(JobFilter(sort=JobSort.DURATION), None)).items
    assert (found.id, found.duration_s, found.priority) == ("job_a", 2.0, 3)
    assert dict(found.labels) == {"team": "crm", "x:y": "z"}
    for label in (("team", "crm"), ("x:y", None)):
        page = await store.jobs.list(JobFilter(labels=frozenset({label})), None)
        assert len(page.items) == 2
    assert [event.job_id for event in await store.events.after(0, job_id=None)] == ["job_a"]
    assert (await store.webhooks.list(None)).items == ()
    await store.close()
    assert len(list((state / "backups").iterdir())) == 1
