"""Schemas: migrated equals newest, a backup first, all or nothing, and newer ones are left alone."""

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from trainbox.store import Store, StoreError, migrate, schema
from trainbox.store.layout import Layout
from trainbox.store.tables import metadata

STEP = """
from alembic import op
revision, down_revision = "{revision}", "{down}"
def upgrade():
    run = op.get_bind().exec_driver_sql
    {body}
"""


def objects(database):
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'sqlite_sequence'"
            " AND tbl_name <> 'alembic_version'"
        )
        return sorted(schema.tidy(sql) for (sql,) in rows)


async def test_a_migrated_database_is_the_newest_schema_to_the_letter(store, state_dir):
    assert objects(state_dir / "trainbox.db") == sorted(schema.ddl())


# An index in falling order cannot be read back; the test above compares that one too.
@pytest.mark.filterwarnings("ignore:autogenerate skipping .* 'steps_waiting'")
async def test_alembic_sees_no_difference_either(store, state_dir):
    engine = create_engine(f"sqlite:///{state_dir / 'trainbox.db'}")
    options = {"include_object": lambda object_, name, *rest: name != "steps_waiting"}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_number_is_that_of_the_newest_step():
    folder = migrate.BUNDLED.folder / "versions"
    assert migrate.BUNDLED.head == max(path.name[:4] for path in folder.glob("0*.py"))


@pytest.fixture
def next_release(tmp_path):
    """A trainbox with one more step than ours."""

    def make(*bodies):
        folder = tmp_path / "migrations"
        shutil.copytree(migrate.BUNDLED.folder, folder)
        down = migrate.BUNDLED.head
        for number, body in enumerate(bodies, int(down) + 1):
            revision = f"{number:04}"
            text = STEP.format(revision=revision, down=down, body=body)
            (folder / "versions" / f"{revision}_next.py").write_text(text)
            down = revision
        return migrate.Migrations(folder, down)

    return make


async def closed(state_dir, make):
    store = await Store.open(state_dir)
    inserted = await store.jobs.insert(make.job(), audit="test")
    await store.close()
    return Layout(state_dir), inserted.job


HEAD = migrate.BUNDLED.head
NEXT, AFTER_NEXT = f"{int(HEAD) + 1:04}", f"{int(HEAD) + 2:04}"
ADD = 'run("ALTER TABLE jobs ADD COLUMN extra TEXT")'


async def test_an_older_database_is_backed_up_and_brought_up_to_date(state_dir, make, next_release):
    layout, job = await closed(state_dir, make)
    before = layout.database.read_bytes()
    release = next_release(ADD, 'run("UPDATE jobs SET extra = id")')
    backup = migrate.bring_up_to_date(layout, "9.1", release)
    with closing(sqlite3.connect(layout.database)) as connection:
        assert connection.execute("SELECT extra FROM jobs").fetchall() == [(job.id,)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (AFTER_NEXT,)
        ]
        by = connection.execute("SELECT value FROM meta WHERE key = 'migrated_by'").fetchall()
        assert by == [("9.1",)]
    assert re.fullmatch(rf"trainbox-\d{{8}}T\d{{6}}\.\d{{6}}Z-before-{AFTER_NEXT}\.db", backup.name)
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    assert objects(backup) == sorted(schema.ddl())
    assert before != layout.database.read_bytes()
    assert migrate.bring_up_to_date(layout, "9.1", release) is None
    assert len(list(layout.backups.iterdir())) == 1


async def test_a_database_that_is_up_to_date_is_not_backed_up(state_dir, make):
    layout, _ = await closed(state_dir, make)
    store = await Store.open(state_dir)
    await store.close()
    assert not layout.backups.exists()


async def test_a_newer_schema_is_refused_politely_and_untouched(state_dir, make, next_release):
    layout, _ = await closed(state_dir, make)
    migrate.bring_up_to_date(layout, "9.1", next_release(ADD))
    before = layout.database.read_bytes()
    with pytest.raises(StoreError) as refused:
        await Store.open(state_dir)
    message = str(refused.value)
    for words in (
        NEXT,
        "trainbox 9.1",
        "newer than this one",
        f"schema {HEAD}",
        f"before-{NEXT}.db",
    ):
        assert words in message
    assert layout.database.read_bytes() == before
    assert len(list(layout.backups.iterdir())) == 1


@pytest.mark.parametrize(
    "second",
    [
        'run("ALTER TABLE jobs ADD COLUMN extra TEXT")',  # there already: SQL error
        'raise RuntimeError("half way")',
        "run(\"UPDATE jobs SET dataset_id = 'ds_none'\")",  # points at nothing: found at the end
    ],
)
async def test_a_migration_that_fails_changes_nothing(state_dir, make, next_release, second):
    layout, job = await closed(state_dir, make)
    with pytest.raises(StoreError, match=rf"failed(.|\n)*rolled back(.|\n)*before-{AFTER_NEXT}"):
        migrate.bring_up_to_date(layout, "9.1", next_release(ADD, second))
    assert objects(layout.database) == sorted(schema.ddl())
    store = await Store.open(state_dir)  # the former release still runs on it
    assert await store.jobs.get(job.id) == job
    await store.close()


async def test_a_migration_killed_half_way_changes_nothing(state_dir, make, next_release):
    layout, job = await closed(state_dir, make)
    release = next_release(ADD, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    code = (
        "import sys; from pathlib import Path; from trainbox.store import migrate;"
        "from trainbox.store.layout import Layout;"
        "migrate.bring_up_to_date(Layout(Path(sys.argv[1])), '9.1',"
        " migrate.Migrations(Path(sys.argv[2]), sys.argv[3]))"
    )
    argv = [sys.executable, "-c", code, str(state_dir), str(release.folder), release.head]
    assert subprocess.run(argv).returncode == -9
    store = await Store.open(state_dir)
    assert await store.jobs.get(job.id) == job
    await store.close()
    assert objects(layout.database) == sorted(schema.ddl())


async def test_no_migration_without_a_backup(state_dir, make, next_release):
    layout, _ = await closed(state_dir, make)
    layout.backups.write_text("in the way")
    before = layout.database.read_bytes()
    with pytest.raises(OSError):
        migrate.bring_up_to_date(layout, "9.1", next_release(ADD))
    assert layout.database.read_bytes() == before


async def test_a_backup_holds_what_was_answered_before_it_while_writes_go_on(store, make):
    answered = [await store.jobs.insert(make.job(), audit="test") for _ in range(50)]
    import asyncio

    async def load():
        while True:
            await store.jobs.insert(make.job(), audit="test")

    writing = asyncio.ensure_future(load())
    backup = await store.back_up()
    writing.cancel()
    with closing(sqlite3.connect(backup)) as connection:
        ids = {row[0] for row in connection.execute("SELECT id FROM jobs")}
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert {each.job.id for each in answered} <= ids


async def test_a_database_without_a_number_is_refused(state_dir, make):
    layout, _ = await closed(state_dir, make)
    with closing(sqlite3.connect(layout.database)) as connection:
        connection.execute("DROP TABLE alembic_version")
    with pytest.raises(StoreError, match="does not say which schema"):
        await Store.open(state_dir)


def test_the_steps_are_in_the_wheel():
    """hatchling ships every file of the package; this is where Alembic looks for them."""
    assert (Path(migrate.__file__).parent / "migrations" / "env.py").is_file()
    assert (Path(migrate.__file__).parent / "migrations" / "script.py.mako").is_file()
