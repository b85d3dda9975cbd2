"""The command line and a real daemon: a large file through a crash, and faults of a large file."""

import csv

import pytest

from trainbox.cli import resumable
from trainbox_sdk.testing.daemon import DaemonProcess

ROWS = 20_000
WORDS = "x" * 1000


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with DaemonProcess(tmp_path_factory.mktemp("real") / "state") as running:
        yield running


@pytest.fixture
def put(run, real, tmp_path, monkeypatch):
    """Upload to the real daemon; the pieces' places are remembered in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    env = {"TRAINBOX_URL": real.url, "TRAINBOX_TOKEN": "", "TRAINBOX_STATE_DIR": real.state_dir}
    env = {name: str(value) for name, value in env.items()}
    return lambda *words, **named: run("data", "put", *words, env=env, **named)


def test_a_crash_in_the_middle_of_a_piece(put, real, tmp_path, monkeypatch):
    path = tmp_path / "large.csv"
    path.write_text("number,words\n" + "".join(f"{n},{WORDS}{n}\n" for n in range(ROWS)))
    read, begun = resumable._Sending._read, []

    def reading(self, offset, length, show):
        begun.append(offset)
        for number, chunk in enumerate(read(self, offset, length, show)):
            if len(begun) == 2 and number == 4:
                real.kill()
                real.start()
            yield chunk

    monkeypatch.setattr(resumable._Sending, "_read", reading)
    made = put(path, "--json").json()
    assert made["rows"] == ROWS
    assert begun[:2] == [0, resumable.PIECE_BYTES]
    assert resumable.PIECE_BYTES <= begun[2] < 2 * resumable.PIECE_BYTES
    kept = real.call("GET", "/v1/datasets/large/preview?rows=1")["rows"][0]
    assert kept == [0, f"{WORDS}0"]


def test_faults_of_a_large_file_are_a_table_too(put, tmp_path):
    path, faults = tmp_path / "bad.csv", tmp_path / "faults.csv"
    lines = [f"{n},{WORDS}{n}\n" for n in range(ROWS)]
    lines[19_990] = "ragged\n"
    path.write_text("number,words\n" + "".join(lines))
    said = put(path, "--faults", faults, code=8).err
    assert "row    column  value" in said
    assert "19991  words" in said
    rows = list(csv.DictReader(faults.read_text().splitlines()))
    assert [(row["row"], row["rule"], row["file"]) for row in rows] == [
        ("19991", "ragged_row", "bad.csv")
    ]
