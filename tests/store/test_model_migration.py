"""A database of the first schema with models and aliases loses nothing on its way here."""

import sqlite3
from contextlib import closing

import pytest

from trainbox.store import Store, migrate, schema
from trainbox.store.layout import Layout
from trainbox.store.connections import APPLICATION_ID
from trainbox_sdk.models import AliasMove

DIGEST = "sha256:" + "1" * 64


def insert(db, table, **values):
    """Insert a row with something in every column that wants it."""
    for _, name, kind, required, default, key in db.execute(f"PRAGMA table_info({table})"):
        if required and default is None and not key and name not in values:
            values[name] = {"TEXT": "{}", "INTEGER": 0, "REAL": 0.0}[kind]
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))


@pytest.fixture
def first_schema(tmp_path):
    """A database as the first release left it, with three versions of two owners."""
    layout = Layout(tmp_path / "state")
    (tmp_path / "state").mkdir()
    migrations = tmp_path / "first"
    (migrations / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/0001_first_schema.py"):
        (migrations / name).write_text((migrate.BUNDLED.folder / name).read_text())
    with closing(sqlite3.connect(layout.database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate.upgrade(layout.database, "0.1", migrate.Migrations(migrations, "0001"))
    with closing(sqlite3.connect(layout.database, isolation_level=None)) as db:
        for number, (name, version, owner) in enumerate(
            [("churn", 1, "ann"), ("churn", 2, "ann"), ("other", 1, "bob")]
        ):
            job, step, attempt, artifact, model = (
                f"{prefix}_{number}" for prefix in ("job", "stp", "att", "art", "mdl")
            )
            insert(db, "jobs", id=job, owner=owner, task="regression", state="succeeded")
            insert(db, "steps", id=step, job_id=job, state="queued")
            insert(db, "attempts", id=attempt, job_id=job, step_id=step, state="preparing")
            insert(db, "artifacts", id=artifact, job_id=job, attempt_id=attempt, digest=DIGEST)
            insert(
                db,
                "models",
                id=model,
                name=name,
                version=version,
                owner=owner,
                job_id=job,
                artifact_id=artifact,
                digest=DIGEST,
                metrics='{"rmse":0.5}',
            )
        db.executemany(
            "INSERT INTO model_aliases VALUES (?, ?, ?, ?)",
            [("churn", "champion", "mdl_0", 8), ("other", "best", "mdl_2", 9)],
        )
        db.execute("INSERT OR IGNORE INTO meta VALUES ('instance', 'abcdefabcdef')")
    return layout


async def test_models_and_aliases_come_along(first_schema, tmp_path):
    migrate.bring_up_to_date(first_schema, "9.1")
    with closing(sqlite3.connect(first_schema.database)) as db:
        rows = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        assert set(schema.ddl()) <= {schema.tidy(sql) for (sql,) in rows}
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("SELECT count(*) FROM models").fetchone() == (3,)
        changes = db.execute(
            "SELECT owner, name, alias, act, from_version, to_version, at FROM model_alias_changes"
        ).fetchall()
    assert changes == [
        ("ann", "churn", "champion", "set", None, 1, 8),
        ("bob", "other", "best", "set", None, 1, 9),
    ]


async def test_the_new_release_goes_on_with_them(first_schema, tmp_path):
    store = await Store.open(tmp_path / "state")
    try:
        found = await store.models.find("churn", alias="champion", owner="ann")
        assert (found.id, found.version, found.metrics, found.aliases) == (
            "mdl_0",
            1,
            {"rmse": 0.5},
            ("champion",),
        )
        assert await store.models.facts("mdl_0") == {}
        await store.aliases.move("ann", AliasMove("churn", "champion", 2), who="ann")
        back = await store.aliases.roll_back(
            "ann", AliasMove("churn", "champion", act="rollback"), who="ann"
        )
        assert (back.from_version, back.to_version) == (2, 1)
    finally:
        await store.close()
