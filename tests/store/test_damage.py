"""A state directory in any bad shape: a clear refusal with a way out, and never a new database."""

import fcntl
import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from trainbox.store import Store, StoreError, migrate
from trainbox.store.connections import connect

DATABASE = "trainbox.db"


async def filled(state_dir, make, jobs=200):
    """Make a store with jobs in it, closed well; return one job's id."""
    store = await Store.open(state_dir)
    for _ in range(jobs):
        inserted = await store.jobs.insert(make.job(params={"x": "y" * 2000}), audit="test")
    await store.close()
    return inserted.job.id


def unclean(state_dir):
    (state_dir / "clean-stop").unlink()


async def refused(state_dir, *words):
    """Assert that opening is refused in these words and that not a byte was changed by it."""
    before = contents(state_dir)
    with pytest.raises(StoreError) as error:
        await Store.open(state_dir)
    for word in words:
        assert word in str(error.value)
    assert contents(state_dir) == before
    return error.value


def contents(state_dir):
    return {
        path.relative_to(state_dir): path.read_bytes()
        for path in state_dir.rglob("*")
        if path.is_file()
        and path.name not in ("trainbox.lock", "trainbox.db-shm", "trainbox.db-wal")
    }


async def test_missing(state_dir, make):
    await filled(state_dir, make)
    (state_dir / DATABASE).unlink()
    await refused(state_dir, DATABASE, "is missing", "There is no backup")


async def test_missing_after_an_unclean_stop(state_dir, make):
    await filled(state_dir, make)
    unclean(state_dir)
    (state_dir / DATABASE).unlink()
    await refused(state_dir, "is missing")


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("size", [0, 1, 99, 100, 4096, 5000])
async def test_empty_or_cut(state_dir, make, size, clean):
    await filled(state_dir, make)
    os.truncate(state_dir / DATABASE, size)
    if not clean:
        unclean(state_dir)
    await refused(state_dir, "is cut", str(size), "no backup")


async def test_one_page_short(state_dir, make):
    await filled(state_dir, make)
    size = (state_dir / DATABASE).stat().st_size
    os.truncate(state_dir / DATABASE, size - 4096)
    await refused(state_dir, "is cut")


async def test_not_a_database(state_dir, make):
    await filled(state_dir, make)
    (state_dir / DATABASE).write_bytes(b"From: someone\n" * 1000)
    await refused(state_dir, "not a SQLite database")


async def test_another_programs_database(state_dir, make):
    await filled(state_dir, make)
    (state_dir / DATABASE).unlink()
    with closing(sqlite3.connect(state_dir / DATABASE)) as other:
        other.execute("CREATE TABLE songs (title)")
    await refused(state_dir, "not trainbox's")


async def test_another_instances_database(state_dir, tmp_path, make):
    await filled(state_dir, make, jobs=1)
    await filled(tmp_path / "other", make, jobs=1)
    shutil.copy(tmp_path / "other" / DATABASE, state_dir / DATABASE)
    theirs = json.loads((tmp_path / "other" / "instance.json").read_text())["instance"]
    ours = json.loads((state_dir / "instance.json").read_text())["instance"]
    await refused(state_dir, theirs, ours)


async def test_a_directory_in_its_place(state_dir, make):
    await filled(state_dir, make, jobs=1)
    (state_dir / DATABASE).unlink()
    (state_dir / DATABASE).mkdir()
    await refused(state_dir, "not a regular file")


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
async def test_damaged_pages_after_an_unclean_stop(state_dir, make, where):
    await filled(state_dir, make)
    unclean(state_dir)
    size = (state_dir / DATABASE).stat().st_size
    with (state_dir / DATABASE).open("r+b") as file:
        file.seek(int(size * where) // 4096 * 4096)
        file.write(b"\xff" * 4096)
    await refused(state_dir, "is damaged")


async def test_a_damaged_first_page(state_dir, make):
    await filled(state_dir, make)
    with (state_dir / DATABASE).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)
    await refused(state_dir, "cannot be used")


async def test_the_way_back_is_a_command_that_works(state_dir, make):
    await filled(state_dir, make, jobs=3)
    store = await Store.open(state_dir)
    kept = (await store.jobs.live_steps())[0].job_id
    backup = await store.back_up()
    lost = await store.jobs.insert(make.job(), audit="test")
    await store.close()
    unclean(state_dir)
    os.truncate(state_dir / DATABASE, 10)
    (state_dir / f"{DATABASE}-wal").write_bytes(b"left over")
    error = await refused(state_dir, "is cut", str(backup))
    command = error.remedy.splitlines()[-1]
    assert shlex.quote(str(backup)) in command
    subprocess.run(["sh", "-c", command], check=True)
    store = await Store.open(state_dir)
    assert await store.jobs.get(kept) is not None
    assert await store.jobs.get(lost.job.id) is None
    assert (state_dir / "damaged" / DATABASE).stat().st_size == 10
    await store.close()


async def test_the_newest_backup_is_named(state_dir, make):
    store = await Store.open(state_dir)
    backups = [await store.back_up() for _ in range(7)]
    await store.close()
    assert sorted((state_dir / "backups").iterdir()) == backups[-5:]
    (state_dir / "backups" / f"trainbox-99990101T000000.000000Z-x.db.partial").touch()
    (state_dir / DATABASE).unlink()
    await refused(state_dir, str(backups[-1]))


async def test_read_only_file(state_dir, make):
    await filled(state_dir, make, jobs=1)
    (state_dir / DATABASE).chmod(0o400)
    await refused(state_dir, "read-only", "chmod")


async def test_read_only_directory(state_dir, make):
    await filled(state_dir, make, jobs=1)
    state_dir.chmod(0o500)
    await refused(state_dir, "not writable", "chmod")
    state_dir.chmod(0o700)


async def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StoreError, match="cannot be made"):
        await Store.open(tmp_path / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to someone else")
@pytest.mark.parametrize("what", [".", DATABASE])
async def test_someone_elses(state_dir, make, what):
    await filled(state_dir, make, jobs=1)
    os.chown(state_dir / what, 12345, -1)
    await refused(state_dir, "belongs to user 12345", "chown")


async def test_an_unreadable_marker(state_dir, make):
    job_id = await filled(state_dir, make, jobs=1)
    (state_dir / "instance.json").write_text('{"inst')
    await refused(state_dir, "instance.json", "remove this file")
    (state_dir / "instance.json").unlink()
    store = await Store.open(state_dir)
    assert await store.jobs.get(job_id) is not None
    assert json.loads((state_dir / "instance.json").read_text()) == {"instance": store.instance}
    await store.close()


async def test_an_interrupted_first_start_is_begun_again(state_dir, make):
    state_dir.mkdir()
    (state_dir / ".trainbox.db.new").write_bytes(b"half")
    (state_dir / ".trainbox.db.new-journal").write_bytes(b"half")
    assert await filled(state_dir, make, jobs=1)
    assert not list(state_dir.glob(".trainbox*"))


async def test_a_first_start_on_a_full_disk_says_so_and_the_next_one_succeeds(
    state_dir, monkeypatch
):
    def small(*args, **named):
        connection = connect(*args, **named)
        connection.execute("PRAGMA max_page_count = 3")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "connect", small)
        with pytest.raises(StoreError, match="full") as refused:
            await Store.open(state_dir)
    assert "Free space" in refused.value.remedy
    await (await Store.open(state_dir)).close()


async def test_files_are_for_their_owner_alone(state_dir, make):
    store = await Store.open(state_dir)
    await store.jobs.insert(make.job(), audit="test")
    await store.back_up()
    for path in [state_dir, *state_dir.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    await store.close()


async def test_a_clean_stop_is_marked_and_a_start_takes_the_mark_away(state_dir):
    for _ in range(2):
        store = await Store.open(state_dir)
        assert not (state_dir / "clean-stop").exists()
        await store.close()
        assert (state_dir / "clean-stop").exists()
    assert not (state_dir / f"{DATABASE}-wal").exists()


async def test_the_instance_is_for_ever(state_dir):
    seen = set()
    for _ in range(3):
        store = await Store.open(state_dir)
        seen.add(store.instance)
        await store.close()
    [instance] = seen
    assert len(instance) == 12 and int(instance, 16) >= 0


async def test_a_second_daemon_is_refused_and_the_first_is_named(state_dir, make):
    store = await Store.open(state_dir)
    with pytest.raises(StoreError, match=f"pid {os.getpid()}"):
        await Store.open(state_dir)
    await store.ping()
    await store.close()
    again = await Store.open(state_dir)
    await again.close()


async def test_another_process_is_refused(state_dir):
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state_dir)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert held.stdout.readline() == b"open\n"
    try:
        with pytest.raises(StoreError, match=f"pid {held.pid}"):
            await Store.open(state_dir)
    finally:
        held.communicate()
    store = await Store.open(state_dir)  # the lock went with the process
    await store.close()


HOLD = """
import asyncio, sys
from pathlib import Path
from trainbox.store import Store
async def main():
    store = await Store.open(Path(sys.argv[1]))
    print("open", flush=True)
    sys.stdin.read()
    await store.close()
asyncio.run(main())
"""


async def test_a_refused_start_lets_go_of_the_lock(state_dir, make):
    await filled(state_dir, make, jobs=1)
    database = (state_dir / DATABASE).read_bytes()
    (state_dir / DATABASE).write_bytes(b"")
    await refused(state_dir, "is cut")
    (state_dir / DATABASE).write_bytes(database)
    with (state_dir / "trainbox.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    store = await Store.open(state_dir)
    await store.close()
