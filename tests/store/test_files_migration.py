"""A database of schema 0005 with jobs in every state loses nothing, and its rules hold after."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from trainbox.store import Store, inspection, migrate
from trainbox.store.connections import APPLICATION_ID
from trainbox.store.layout import Layout
from trainbox_sdk.jobs import State

BEFORE, HERE = "0005", "0006"
STATES = ("queued", "running", "succeeded", "failed", "cancelled", "interrupted")


def insert(db, table, **values):
    """Insert a row with something in every column that wants it."""
    for _, name, kind, required, default, key in db.execute(f"PRAGMA table_info({table})"):
        if required and default is None and not key and name not in values:
            values[name] = {"TEXT": "{}", "INTEGER": 0, "REAL": 0.0}[kind]
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))


@pytest.fixture
def before(tmp_path):
    """A database as the release before left it."""
    layout = Layout(tmp_path / "state")
    layout.root.mkdir(mode=0o700)
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.BUNDLED.folder, folder)
    for path in (folder / "versions").glob("0*.py"):
        if path.name[:4] > BEFORE:
            path.unlink()
    with closing(sqlite3.connect(layout.database)) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA journal_mode = WAL")
    migrate.upgrade(layout.database, "0.4", migrate.Migrations(folder, BEFORE))
    plan = '{"name":"train","entry":"a:b","packages":["a"],"environment":"e","params":{},"outputs":[{"name":"m","kind":"file","required":true,"max_bytes":1,"media_type":"x","check":null}],"after":[],"trusted":true}'
    resources = '{"cpus":1,"memory_bytes":1,"gpus":0,"timeout_s":1}'
    with closing(sqlite3.connect(layout.database, isolation_level=None)) as db:
        db.execute("INSERT OR IGNORE INTO meta VALUES ('instance', 'abcdefabcdef')")
        for n, state in enumerate(STATES, 1):
            insert(db, "jobs", id=f"job_{n}", owner="ann", task="t", state=state, priority=n,
                   resources=resources, created_at=n, progress=0.5, identity=f"i{n}")  # fmt: skip
            insert(db, "steps", id=f"stp_{n}", job_id=f"job_{n}", name="train", plan=plan,
                   needs="[]", state="queued")  # fmt: skip
            if state == "queued":
                continue
            insert(db, "attempts", id=f"att_{n}", job_id=f"job_{n}", step_id=f"stp_{n}",
                   number=1, state="preparing", exit_code=n, peak_memory_bytes=10 * n,
                   created_at=n, events_offset=n)  # fmt: skip
            insert(db, "artifacts", id=f"art_{n}", job_id=f"job_{n}", attempt_id=f"att_{n}",
                   digest=f"sha256:{n:064}", name="m")  # fmt: skip
            insert(db, "events", job_id=f"job_{n}", kind="state", data="{}")
            db.execute(
                "UPDATE steps SET state = 'preparing', attempt = 1, attempt_id = ? WHERE id = ?",
                (f"att_{n}", f"stp_{n}"),
            )
            for table in ("steps", "attempts"):
                for after in ("running", "collecting")[: 1 if state != "succeeded" else 2]:
                    db.execute(f"UPDATE {table} SET state = ? WHERE id LIKE ?", (after, f"%_{n}"))
                if state != "running":
                    db.execute(f"UPDATE {table} SET state = ? WHERE id LIKE ?", (state, f"%_{n}"))
    layout.database.chmod(0o600)
    return layout


async def test_jobs_and_attempts_come_along(before):
    with closing(sqlite3.connect(before.database)) as db:
        jobs = db.execute("SELECT * FROM jobs ORDER BY seq").fetchall()
        attempts = db.execute("SELECT * FROM attempts ORDER BY seq").fetchall()
    migrate.bring_up_to_date(before, "9.1")
    with closing(sqlite3.connect(before.database)) as db:
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        after = db.execute("SELECT * FROM jobs ORDER BY seq").fetchall()
        assert after == [(*row, "", "{}") for row in jobs]
        after = db.execute("SELECT * FROM attempts ORDER BY seq").fetchall()
        assert after == [(*row, None, None, "{}") for row in attempts]
    store = await Store.open(before.root)
    found = [await store.jobs.get(f"job_{n}") for n in range(1, 7)]
    assert [job.state for job in found] == [State(state) for state in STATES]
    assert [job.steps[0].attempts[0].peak_memory_bytes for job in found[1:]] == [20, 30, 40, 50, 60]
    assert {attempt.cpu_s for job in found[1:] for attempt in job.steps[0].attempts} == {None}
    assert [step.job_id for step in await store.jobs.active_steps()] == ["job_2"]
    assert (await store.jobs.step("stp_2")).plan.files == ()
    await store.jobs.retry("job_4", who="ann")
    await store.close()


async def test_the_rules_hold_on_what_came_along(before):
    migrate.bring_up_to_date(before, "9.1")
    with closing(sqlite3.connect(before.database, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        for statement, words in (
            ("UPDATE attempts SET exit_code = 7 WHERE id = 'att_4'", "never changes"),
            ("UPDATE attempts SET state = 'queued' WHERE id = 'att_2'", "illegal move"),
            ("DELETE FROM jobs WHERE id = 'job_2'", "FOREIGN KEY"),
            ("DELETE FROM attempts WHERE id = 'att_3'", "FOREIGN KEY"),
        ):
            with pytest.raises(sqlite3.IntegrityError, match=words):
                db.execute(statement)
        # Numbers are not given twice.
        seq = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        assert seq == (6,)


async def test_files_of_an_older_database_can_be_listed(before):
    """A backup made before the upgrade is checked and restored by this release."""
    assert inspection.inspect(before.database).schema == BEFORE < HERE
    assert inspection.digests(before.database) == {f"sha256:{n:064}" for n in range(2, 7)}
