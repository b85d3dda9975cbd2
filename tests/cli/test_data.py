"""``trainbox data`` and ``trainbox trash`` against the real HTTP layer."""

import csv
import hashlib
import io

import pytest

from trainbox.cli.labels import changed_labels
from trainbox_sdk import errors


@pytest.fixture
def kunden(run, table):
    return run("data", "put", table, "--label", "team=blue").out.strip()


def test_versions_and_lists_in_every_form(run, table, kunden):
    table.write_text("age,city,target\n1,x,yes\n")
    second = run("data", "put", table).out.strip()
    assert run("data", "versions", "kunden", "-o", "id").out.split() == [second, kunden]
    assert run("data", "ls", "--name", "kunden", "-o", "id").out.split() == [second, kunden]
    assert run("data", "ls", "--format", "parquet", "--json").json() == []
    rows = list(csv.DictReader(io.StringIO(run("data", "ls", "-o", "csv").out)))
    assert [(row["name"], row["version"]) for row in rows] == [("kunden", "2"), ("kunden", "1")]
    first_only = run("data", "ls", "--limit", "1", "-o", "id")
    assert first_only.out.split() == [second]
    assert "--all lists the rest" in first_only.err
    assert run("data", "ls", "--all", "-o", "id").out.split() == [second, kunden]
    assert '"team": "blue"' in run("data", "show", kunden).out


def test_profile_and_preview(run, kunden):
    shown = run("data", "profile", "kunden", "--target", "target").out
    assert "city\tstring\t1 (33%)\t2" in shown
    assert "No column gives target away." in shown
    assert run("data", "profile", "kunden", "--json").json()["profile"]["rows"] == 3
    assert run("data", "preview", "kunden", "--rows", "2", "-o", "csv").out.splitlines() == [
        "age,city,target",
        ",,",
        ",,",
    ]
    assert run("data", "preview", "kunden", "--rows", "1", "--json").json() == [
        {"age": None, "city": None, "target": None}
    ]
    assert "Rows have no id" in run("data", "preview", "kunden", "-o", "id", code=2).err
    assert "no column 'nope'" in run("data", "profile", "kunden", "--target", "nope", code=8).err


def test_describe_changes_only_what_is_named(run, kunden):
    run("data", "describe", "kunden", "stage=raw", "--description", "aus dem Süden")
    changed = run("data", "describe", "kunden", "team-", "--json").json()
    assert changed["labels"] == {"stage": "raw"}
    assert changed["description"] == "aus dem Süden"
    assert "no label 'team'" in run("data", "describe", "kunden", "team-", code=2).err


def test_get_writes_the_whole_file_or_none(run, daemon, kunden, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("data", "get", "kunden").out.strip() == "kunden-v1.parquet"
    assert (tmp_path / "kunden-v1.parquet").read_bytes() == table.read_bytes()
    assert run("data", "get", "kunden", "--format", "csv", "-o", "-").out == table.read_text()
    to = tmp_path / "there.parquet"
    assert run("data", "get", "kunden", "-o", to, "--json").json()["path"] == str(to)
    stored = daemon.engine._folder / hashlib.sha256(table.read_bytes()).hexdigest()
    stored.write_bytes(b"damaged" + table.read_bytes()[7:])
    to.unlink()
    assert "digest" in run("data", "get", "kunden", "-o", to, code=1).err
    assert [path.name for path in tmp_path.iterdir() if "there" in path.name] == []
    nowhere = tmp_path / "kunden-v1.parquet" / "below a file"
    for form in ("parquet", "csv"):
        words = ("--format", form, "-o", nowhere)
        assert str(nowhere.parent) in run("data", "get", "kunden", *words, code=2).err


def test_a_name_of_others_cannot_choose_a_folder(run, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = run("data", "put", table, "--name", "../../etc/evil").out.strip()
    path = run("data", "get", made).out.strip()
    assert "/" not in path
    assert (tmp_path / path).exists()


def test_into_the_trash_back_and_gone(run, kunden):
    assert "Would throw away kunden:1" in run("data", "rm", "kunden", "--dry-run").err
    assert f"trainbox data restore {kunden}" in run("data", "rm", "kunden").err
    assert run("data", "ls", "-o", "id").out == ""
    assert run("data", "ls", "--trashed", "-o", "id").out.split() == [kunden]
    assert run("trash", "ls", "-o", "id").out.split() == [kunden]
    assert run("data", "restore", kunden).out.strip() == kunden
    assert run("trash", "ls", "--json").json() == []
    run("data", "rm", kunden)
    assert "would go" in run("trash", "purge", "--dry-run").out
    refused = run("trash", "purge", code=2)
    assert "--yes" in refused.err
    assert run("trash", "ls", "-o", "id").out.split() == [kunden], "nobody agreed"
    assert run("trash", "purge", "--yes", "--json").json()["purged"][0]["id"] == kunden
    assert run("trash", "ls", "-o", "id").out == ""
    assert "0 B in 0 files" in run("admin", "gc").out, "nothing there, nothing to ask"


def test_a_dataset_in_use_stays(run, job):
    job()
    assert "a job uses it" in run("data", "rm", "kunden", code=9).err


def test_import_says_what_the_daemon_says(run, daemon, monkeypatch):
    assert "imports no files" in run("data", "import", "/srv/a.csv", code=6).err
    asked = []

    async def load(who, spec, path):
        asked.append((spec.name, spec.format, dict(spec.labels), path))
        raise errors.NotFound("no such file")

    monkeypatch.setattr(daemon.engine, "import_dataset", load)
    run("data", "import", "/srv/b", "--format", "csv", "--name", "n", "--label", "a=b", code=5)
    assert asked == [("n", "csv", {"a": "b"}, "/srv/b")]


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        (("a=1",), {"a": "1", "b": "2"}),
        (("b-",), {}),
        (("b-", "b=3="), {"b": "3="}),
        (("c=-",), {"b": "2", "c": "-"}),
    ],
)
def test_labels(changes, after):
    assert changed_labels({"b": "2"}, changes) == after


@pytest.mark.parametrize("wrong", ["=1", "c", "-", "", "c-"])
def test_wrong_labels(run, kunden, wrong):
    result = run("data", "describe", "kunden", "--", wrong, code=2)
    assert "label" in result.err
