"""A database of the first release, with tokens, things and acts, comes through without loss."""

import hashlib
import sqlite3
from contextlib import closing

from trainbox.store import Store, migrate
from trainbox.store.codec import dump
from trainbox.store.layout import Layout
from trainbox.store.opening import APPLICATION_ID, prepare_directory

FIRST = migrate.Migrations(migrate.BUNDLED.folder, "0001")


def first_release(state_dir):
    """Make a state directory as the first release left it: three tokens, a dataset, four acts."""
    from alembic import command
    from sqlalchemy import create_engine

    layout = prepare_directory(state_dir)
    engine = create_engine(f"sqlite:///{layout.database}")
    with engine.begin() as connection:
        config = migrate._config(FIRST)
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    layout.marker.write_text('{"instance": "0123456789ab"}')
    with closing(sqlite3.connect(layout.database)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [("instance", "0123456789ab"), ("created_by", "0.1"), ("migrated_by", "0.1")],
        )
        sql = "INSERT INTO tokens VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"
        for number, name, revoked in ((1, "local", None), (2, "local", None), (3, "ann", 5)):
            digest = hashlib.sha256(f"secret{number}".encode()).hexdigest()
            row = (f"tok_{number}", digest, name, '["read","admin"]', 1, None, revoked, None)
            db.execute(sql, row)
        prev = ""
        for number in range(1, 5):
            act = (prev, number, "local", "test.act", f"object {number}", "note")
            prev, before = hashlib.sha256(dump(act).encode()).hexdigest(), prev
            db.execute(
                "INSERT INTO audit VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", (*act[1:], before, prev)
            )
        db.execute(
            "INSERT INTO datasets (id, name, digest, source_format, bytes, rows, columns, warnings,"
            " owner, created_at) VALUES ('ds_1', 'd', 'sha256:0', 'csv', 1, 1, '[]', '[]', 'local', 1)"
        )
        db.commit()
    return layout


async def test_from_the_first_release(state_dir):
    first_release(state_dir)
    store = await Store.open(state_dir)
    one, two = [await store.tokens.verify(f"tb_{n}_secret{n}") for n in (1, 2)]
    dataset = await store.datasets.get("ds_1")
    assert one.id == two.id == dataset.owner == "local"
    assert {one.name, two.name} == {"local #1", "local"}
    assert await store.tokens.verify("tb_3_secret3") is None
    await store.audit.append("local", "test.act", "object 5")
    verdict = await store.audit.verify()
    assert (verdict.ok, verdict.rows, verdict.faults) == (True, 5, ())
    acts = await store.audit.after(0)
    assert [act.object for act in acts] == [f"object {n}" for n in range(1, 6)]
    await store.close()


async def test_the_tables_are_guarded_again(state_dir):
    layout = first_release(state_dir)
    await (await Store.open(state_dir)).close()
    assert isinstance(layout, Layout)
    with closing(sqlite3.connect(layout.database)) as db:
        for sql in ("UPDATE audit SET who = 'eve'", "DELETE FROM audit"):
            try:
                db.execute(sql)
            except sqlite3.IntegrityError as refused:
                assert "append-only" in str(refused)
            else:
                raise AssertionError(f"{sql} was not refused")
