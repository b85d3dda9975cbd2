"""A database of the first release keeps its datasets: uploads of one name become its versions."""

import shutil
import sqlite3
from contextlib import closing

from trainbox.store import Store, migrate
from trainbox.store.connections import APPLICATION_ID, connect
from trainbox.store.layout import Layout

ROW = """
INSERT INTO datasets (id, name, digest, source_format, bytes, rows, columns, warnings, owner,
    created_at) VALUES (?, ?, ?, 'csv', 10, 2, '[]', '["odd"]', ?, 1000000)
"""
JOB = """
INSERT INTO jobs (id, owner, name, task, dataset_id, params, spec_resources, resources, priority,
    labels, backend, state, reason_code, reason, progress, metrics, request_digest, created_at)
VALUES ('job_1', 'ann', 'j', 'regression', 'ds_b', '{}', '{}',
    '{"cpus":1,"memory_bytes":1,"timeout_s":1}', 0, '{}', 'docker', 'queued', '', '', 0, '{}', '', 1)
"""


def first_release(state_dir, folder):
    """A database as trainbox 0.1 made it."""
    shutil.copytree(migrate.BUNDLED.folder, folder)
    for path in (folder / "versions").glob("0*.py"):
        if not path.name.startswith("0001"):
            path.unlink()
    state_dir.mkdir(mode=0o700)
    database = Layout(state_dir).database
    database.touch(mode=0o600)
    with closing(connect(database)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate.upgrade(database, "0.1", migrate.Migrations(folder, "0001"))
    with closing(connect(database)) as connection:
        connection.execute("INSERT INTO meta VALUES ('instance', 'abcdefabcdef')")
        connection.execute("PRAGMA journal_mode = wal")
    return database


async def test_datasets_of_the_first_release_are_kept(tmp_path):
    state_dir = tmp_path / "state"
    database = first_release(state_dir, tmp_path / "migrations")
    rows = [
        ("ds_a", "people", "sha256:a", "ann"),
        ("ds_b", "people", "sha256:b", "ann"),
        ("ds_c", "people", "sha256:a", "bob"),
        ("ds_d", "other", "sha256:c", "ann"),
    ]
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for row in rows:
            connection.execute(ROW, row)
        connection.execute("DELETE FROM datasets WHERE id = 'ds_d'")
        connection.execute(JOB)
    store = await Store.open(state_dir)
    found = [await store.datasets.get(row[0]) for row in rows[:3]]
    assert [(d.id, d.name, d.version, d.digest, d.owner) for d in found] == [
        ("ds_a", "people", 1, "sha256:a", "ann"),
        ("ds_b", "people", 2, "sha256:b", "ann"),
        ("ds_c", "people", 1, "sha256:a", "bob"),
    ]
    assert [(d.warnings, d.source_digest, d.trashed_at) for d in found] == [
        (("odd",), "", None)
    ] * 3
    assert (await store.jobs.get("job_1")).dataset_id == "ds_b"
    listed = await store.datasets.list(owner=None)
    assert [d.id for d in listed.items] == ["ds_c", "ds_b", "ds_a"]
    await store.close()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
