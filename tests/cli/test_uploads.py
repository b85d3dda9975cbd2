"""Uploads: in pieces, through breaks, in a later process; and what is wrong with refused data."""

import csv
import io
import json

import pytest

from trainbox.cli import resumable, upload
from trainbox_sdk import errors
from trainbox_sdk.errors import DataFault

ROWS = "".join(f"{number},word{number % 7}\n" for number in range(2000))
TEXT = "number,word\n" + ROWS


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file that is large for a program whose pieces are small."""
    monkeypatch.setattr(upload, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(resumable, "PIECE_BYTES", 4096)
    monkeypatch.setattr(resumable, "CHUNK", 1024)
    monkeypatch.setattr(resumable.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "large.csv"
    path.write_text(TEXT)
    return path


@pytest.fixture
def appended(daemon, monkeypatch):
    """What each piece brought: its offset, and the bytes of it that were stored."""
    append, seen = daemon.engine.append_upload, []

    async def call(who, upload_id, offset, body):
        view = await append(who, upload_id, offset, body)
        seen.append((offset, view.received - offset))
        return view

    monkeypatch.setattr(daemon.engine, "append_upload", call)
    return seen


def breaking(daemon, monkeypatch, *, at, error, store=0):
    """Make the piece number ``at`` fail after some of its bytes were stored."""
    append, calls = daemon.engine.append_upload, []

    async def part(body):
        async for chunk in body:
            yield chunk[:store]
            return

    async def call(who, upload_id, offset, body):
        calls.append(offset)
        if len(calls) == at:
            await append(who, upload_id, offset, part(body))
            raise error
        return await append(who, upload_id, offset, body)

    monkeypatch.setattr(daemon.engine, "append_upload", call)
    return calls


def remembered(tmp_path):
    return list((tmp_path / "cache").rglob("*.json"))


def test_a_large_file_goes_in_pieces_with_all_that_is_said_of_it(run, large, appended, tmp_path):
    words = ("--name", "groß", "--label", "team=a=b", "--description", "zwei Wörter")
    made = run("data", "put", large, *words, "--json").json()
    assert (made["name"], made["rows"], made["labels"]) == ("groß", 2000, {"team": "a=b"})
    assert made["description"] == "zwei Wörter"
    assert [offset for offset, _ in appended] == list(range(0, len(TEXT), 4096))
    assert remembered(tmp_path) == []


def test_small_files_and_pipes_go_at_once(run, table, appended, large):
    run("data", "put", table)
    run("data", "put", "-", "--format", "csv", stdin=TEXT)
    assert appended == []
    assert "has these bytes already; none was made" in run("data", "put", table).err


@pytest.mark.parametrize(
    "error", [errors.Unavailable("stopping"), errors.RateLimited("slow", retry_after_s=1)]
)
def test_a_break_costs_no_more_than_one_piece(run, daemon, monkeypatch, large, error):
    offsets = breaking(daemon, monkeypatch, at=3, error=error, store=100)
    assert run("data", "put", large, "--json").json()["rows"] == 2000
    assert offsets[:4] == [0, 4096, 8192, 8292], "it goes on after what was stored"


def cut_off(daemon, monkeypatch, *, after):
    """Let Ctrl-C come while the piece number ``after`` is sent."""
    read, calls = resumable._Sending._read, []

    def reading(self, offset, length, show):
        calls.append(offset)
        for number, chunk in enumerate(read(self, offset, length, show)):
            if len(calls) == after and number == 1:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(resumable._Sending, "_read", reading)


def test_the_same_command_goes_on_in_a_later_process(
    run, daemon, monkeypatch, large, appended, tmp_path
):
    with monkeypatch.context() as here:
        cut_off(daemon, here, after=3)
        stopped = run("data", "put", large, code=130)
    assert "Interrupted with 8.0 KiB of" in stopped.err
    assert "The same command again goes on from there" in stopped.err
    assert len(remembered(tmp_path)) == 1
    before = list(appended)
    again = run("data", "put", large)
    assert "Going on from " in again.err
    assert "2000 rows" in again.err
    assert appended[len(before)][0] >= 8192
    assert remembered(tmp_path) == []


@pytest.mark.parametrize("change", ["forgotten", "other name", "other bytes", "no cache"])
def test_it_begins_anew_where_it_cannot_go_on(run, daemon, monkeypatch, large, tmp_path, change):
    with monkeypatch.context() as here:
        cut_off(daemon, here, after=2)
        run("data", "put", large, code=130)
    more = ()
    if change == "forgotten":
        for file in remembered(tmp_path):
            file.write_text('{"place": "/v1/uploads/upl_gone"}')
    elif change == "other name":
        more = ("--name", "other")
    elif change == "other bytes":
        large.write_text(TEXT + "1,x\n")
    else:
        for file in remembered(tmp_path):
            file.write_text("[")
    again = run("data", "put", large, *more)
    assert "Going on" not in again.err
    assert "rows" in again.err


def test_a_daemon_that_stays_away_is_exit_7_and_says_how_to_go_on(
    run, daemon, monkeypatch, large, tmp_path
):
    monkeypatch.setattr(resumable, "RECONNECT_FOR_S", -1.0)
    breaking(daemon, monkeypatch, at=2, error=errors.Unavailable("stopping"))
    patiently = resumable._Sending._patiently

    def away(self, method, place=""):
        daemon.engine.raises["upload"] = errors.Unavailable("stopping")
        return patiently(self, method, place)

    monkeypatch.setattr(resumable._Sending, "_patiently", away)
    stopped = run("data", "put", large, code=7)
    assert "The same command again goes on from there." in stopped.err
    assert len(remembered(tmp_path)) == 1


def test_what_the_daemon_refuses_is_told_as_ever(run, daemon, large):
    daemon.engine.raises["create_upload"] = errors.TooLarge("over a megabyte")
    assert "over a megabyte" in run("data", "put", large, code=8).err


FAULTS = [
    DataFault("ragged_row", f"row {row}", "quote it", row, row + 1, "b\x1b", "=oo\nps", "f.csv")
    for row in range(1, 31)
]


@pytest.fixture
def refused(daemon):
    daemon.engine.raises["put_dataset"] = errors.ValidationFailed(
        "30 rows are wrong", code="ragged_row", faults=FAULTS
    )


def test_faults_are_a_table_and_all_of_them_a_file(run, refused, table, tmp_path):
    out = tmp_path / "faults.csv"
    said = run("data", "put", table, "--faults", out, code=8).err
    assert "  row  column  value" in said
    assert said.count("ragged_row  quote it") == 20
    assert "all 30 are in" in said
    assert "\x1b" not in said
    rows = list(csv.DictReader(io.StringIO(out.read_bytes().decode(), newline="")))
    assert (len(rows), rows[29]["row"], rows[29]["rule"]) == (30, "30", "ragged_row")
    assert rows[0]["value"] == "'=oo\nps", "no spreadsheet computes it"
    said = run("data", "put", table, code=8).err
    assert "and 10 more; --faults FILE writes all of them as CSV" in said


def test_faults_are_whole_under_json(run, refused, table):
    document = json.loads(run("data", "put", table, "--json", code=8).err)
    assert len(document["faults"]) == 30
    assert document["faults"][0]["column"] == "b\x1b"


def test_faults_of_a_file_to_be_trained_on(run, refused, table):
    said = run("jobs", "submit", "binclass", "--data", table, "--target", "target", code=8).err
    assert said.count("ragged_row  quote it") == 20


def test_a_place_for_faults_that_cannot_be_written(run, refused, table, tmp_path):
    said = run("data", "put", table, "--faults", tmp_path / "no" / "faults.csv", code=2).err
    assert "The faults cannot be written." in said


@pytest.mark.parametrize(
    ("name", "format_", "stem"),
    [
        ("a.csv", "csv", "a"),
        ("a.b.CSV.gz", "csv", "a.b"),
        ("a.jsonl.zst", "jsonl", "a"),
        ("a.pq", "parquet", "a"),
        ("a.feather", "arrow", "a"),
        ("a.gz", "", "a"),
        ("README", "", "README"),
    ],
)
def test_what_a_name_tells(tmp_path, name, format_, stem):
    assert upload.split_name(tmp_path / name) == (format_, stem)
