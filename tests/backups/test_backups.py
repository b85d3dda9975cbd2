"""Backups of a whole state directory: made under load, checked byte by byte, restored, compared."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from trainbox import backups
from trainbox.backups import making
from trainbox.backups.manifest import sha256_of
from trainbox.store.layout import Layout
from trainbox_sdk.errors import Conflict, NotFound, StorageFull, ValidationFailed
from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("backups")]


def silent(fraction: float, what: str) -> None:
    assert 0 <= fraction <= 1 and what


def rows(database: Path) -> dict[str, list[tuple]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}


@pytest.fixture
def daemon(tmp_path):
    with DaemonProcess(tmp_path / "state", env={"TRAINBOX_BACKEND": "process"}) as running:
        yield running


def csv(number: int) -> bytes:
    return (
        "".join(f"{row},{row * number}\n" for row in range(-1, 50))
        .replace("-1,", "a,b", 1)
        .encode()
    )


def test_backed_up_under_load_checked_restored_and_compared(daemon, tmp_path):
    first = [daemon.upload(b"a,b\n1,2\n3,4\n", name=f"set-{n}") for n in range(3)]
    stop, uploaded = threading.Event(), []

    def load():
        while not stop.is_set():
            n = len(uploaded)
            uploaded.append(daemon.upload(f"a,b\n{n},2\n3,4\n".encode(), name=f"live-{n}")["id"])

    thread = threading.Thread(target=load)
    thread.start()
    try:
        while len(uploaded) < 2:
            thread.join(0.05)
        made, manifest = backups.back_up(daemon.state_dir, tmp_path / "to", silent)
    finally:
        stop.set()
        thread.join()
    assert manifest.rows["datasets"] >= len(first) + 2
    assert backups.check(made, silent).problems == ()
    daemon.stop()

    elsewhere = tmp_path / "elsewhere"
    assert backups.restore(made, elsewhere, silent, replace=False) is None
    assert rows(elsewhere / "trainbox.db") == rows(made / "trainbox.db")
    with DaemonProcess(elsewhere, env={"TRAINBOX_BACKEND": "process"}) as other:
        for dataset in first:
            assert other.call("GET", f"/v1/datasets/{dataset['id']}") == dataset
        assert other.call("GET", "/readyz")["status"] == "ready"


def test_a_second_backup_shares_files_with_the_first(daemon, tmp_path):
    daemon.upload(b"a,b\n1,2\n3,4\n", name="one")
    first, _ = backups.back_up(daemon.state_dir, tmp_path / "to", silent)
    daemon.upload(b"a,b\n5,6\n7,8\n", name="two")
    second, manifest = backups.back_up(daemon.state_dir, tmp_path / "to", silent)
    assert backups.backups_in(tmp_path / "to") == [first, second]
    links = sorted(p.stat().st_nlink for p in (second / "blobs").rglob("*") if p.is_file())
    assert links == [1, 2] and manifest.files == 2


@pytest.fixture
def made(daemon, tmp_path):
    daemon.upload(b"a,b\n1,2\n3,4\n", name="one")
    made, _ = backups.back_up(daemon.state_dir, tmp_path / "to", silent)
    return made


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def blob(made: Path) -> Path:
    return next(path for path in (made / "blobs").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda made: flip(blob(made), 9), "has changed"),
        (lambda made: blob(made).unlink(), "is missing"),
        (lambda made: flip(made / "trainbox.db", 5000), "trainbox.db has changed"),
        (lambda made: (made / "trainbox.db").unlink(), "trainbox.db is missing"),
    ],
    ids=["flipped bit in a file", "file gone", "flipped bit in the database", "database gone"],
)
def test_damage_is_found_and_nothing_is_restored(made, damage, words, tmp_path):
    damage(made)
    (problem,) = backups.check(made, silent).problems
    assert words in problem
    with pytest.raises(ValidationFailed, match="is not whole"):
        backups.restore(made, tmp_path / "new", silent, replace=False)
    assert not (tmp_path / "new").exists()


def test_an_edited_audit_log_is_found_even_with_a_fitting_manifest(made):
    with closing(sqlite3.connect(made / "trainbox.db")) as connection, connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET act = 'nothing' WHERE seq = 1")
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["database_sha256"] = sha256_of(made / "trainbox.db")
    (made / "manifest.json").write_text(json.dumps(manifest))
    assert "row 1" in backups.check(made, silent).problems[0]


def test_a_running_daemon_and_existing_state_are_not_written_over(daemon, made, tmp_path):
    before = daemon.call("GET", "/v1/datasets")
    with pytest.raises(Conflict, match="running"):
        backups.restore(made, daemon.state_dir, silent, replace=True)
    daemon.stop()
    with pytest.raises(Conflict, match="there is state"):
        backups.restore(made, daemon.state_dir, silent, replace=False)
    aside = backups.restore(made, daemon.state_dir, silent, replace=True)
    assert (aside / "trainbox.db").is_file() and (aside / "blobs").is_dir()
    daemon.start()
    assert daemon.call("GET", "/v1/datasets") == before


def test_what_is_no_backup(tmp_path, made):
    with pytest.raises(ValidationFailed, match="is not a backup"):
        backups.check(tmp_path, silent)
    with pytest.raises(NotFound, match="TRAINBOX_STATE_DIR|no database"):
        backups.back_up(tmp_path / "nothing", tmp_path / "to", silent)
    manifest = json.loads((made / "manifest.json").read_text())
    (made / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ValidationFailed, match="newer"):
        backups.check(made, silent)


def test_no_room_leaves_nothing_behind(daemon, tmp_path, monkeypatch):
    daemon.upload(b"a,b\n1,2\n3,4\n", name="one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making.shutil, "copyfile", full)
    with pytest.raises(StorageFull, match="No space left"):
        backups.back_up(daemon.state_dir, tmp_path / "to", silent)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_file_that_a_purge_took_meanwhile_begins_the_backup_again(daemon, tmp_path, monkeypatch):
    daemon.upload(b"a,b\n1,2\n3,4\n", name="one")
    real, tries = making._keep, []

    def keep(digest, *rest):
        tries.append(digest)
        if len(tries) == 1:
            raise backups.FilePurged(Path("x"), "gone")
        return real(digest, *rest)

    monkeypatch.setattr(making, "_keep", keep)
    made, _ = backups.back_up(daemon.state_dir, tmp_path / "to", silent)
    assert len(tries) == 2
    assert backups.backups_in(tmp_path / "to") == [made]
    assert len(list((tmp_path / "to").iterdir())) == 1
    assert Layout(daemon.state_dir).database.exists()
