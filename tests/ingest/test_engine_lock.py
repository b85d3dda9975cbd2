"""DuckDB as the workers open it, attacked with SQL alone: no confinement of the process helps here."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from trainbox.workers import staging

pytestmark = pytest.mark.hostile

ATTACKS = {
    "read a file": "SELECT * FROM read_csv('/etc/passwd')",
    "read a file as text": "SELECT * FROM read_text('/etc/passwd')",
    "read a file as bytes": "SELECT * FROM read_blob('/etc/passwd')",
    "name a file as a table": "SELECT * FROM '/etc/passwd'",
    "list files": "SELECT * FROM glob('/etc/*')",
    "climb out": "SELECT * FROM read_text('{here}/../outside')",
    "load from a file": "COPY inside FROM '/etc/passwd'",
    "write a file": "COPY inside TO '/tmp/trainbox-escaped.csv'",
    "write above": "COPY inside TO '{here}/../escaped.csv'",
    "write many": "EXPORT DATABASE '/tmp/trainbox-escaped'",
    "attach": "ATTACH '/tmp/trainbox-escaped.db'",
    "attach by address": "ATTACH 'https://localhost/x.db'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "load a library": "LOAD '/usr/lib/x86_64-linux-gnu/libc.so.6'",
    "read by address": "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
    "enable again": "SET enable_external_access = true",
    "allow more": "SET allowed_directories = ['/']",
    "allow a path": "SET allowed_paths = ['/etc/passwd']",
    "more memory": "SET memory_limit = '100GB'",
    "more threads": "SET threads = 64",
    "spill elsewhere": "SET temp_directory = '/tmp'",
    "unlock": "SET lock_configuration = false",
    "reset": "RESET enable_external_access",
    "pragma": "PRAGMA enable_profiling = 'json'",
    "python's variables": "SELECT * FROM secret_frame",
    "secrets": "CREATE PERSISTENT SECRET s (TYPE http)",
}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "outside").write_text("outside")
    monkeypatch.chdir(work)
    with staging.open_engine(memory_bytes=512 * 1024**2, threads=2) as connection:
        connection.execute("CREATE TABLE inside AS SELECT 1 AS a")
        staging.lock(connection)
        yield connection


@pytest.mark.parametrize("attack", ATTACKS)
def test_sql_cannot_leave_the_folder(engine, tmp_path, attack):
    secret_frame = [1]  # what a replacement scan would find
    assert secret_frame
    with pytest.raises(duckdb.Error):
        engine.execute(ATTACKS[attack].format(here=os.getcwd())).fetchall()
    assert not (tmp_path / "escaped.csv").exists()
    assert not list(Path("/tmp").glob("trainbox-escaped*"))


def test_the_settings_are_in_force(engine):
    names = ("enable_external_access", "lock_configuration", "threads", "memory_limit")
    found = [engine.execute(f"SELECT current_setting('{name}')").fetchone()[0] for name in names]
    assert found[:3] == [False, True, 2]
    assert found[3] == "256.0 MiB"


def test_its_own_folder_still_works(engine):
    engine.execute("COPY inside TO 'mine.csv'")
    assert engine.execute("SELECT * FROM read_csv('mine.csv')").fetchall() == [(1,)]


def test_memory_is_held(engine):
    with pytest.raises(duckdb.OutOfMemoryException):
        engine.execute(
            "SELECT length(list(i::VARCHAR || repeat('x', 100))) FROM range(10000000) t(i)"
        )


def test_nothing_to_steal_is_imported():
    """The daemon's own process never loads the engine."""
    assert "duckdb" in sys.modules  # here, in the test
    program = (
        "import sys, trainbox.ingest; print(sorted({'duckdb', 'nanoarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
