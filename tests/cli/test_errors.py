"""What, where, next step; and an exit code that scripts can rely on."""

import json
import re
import socket
from pathlib import Path

import pytest

from trainbox.cli.exits import STATUS_EXITS, Exit
from trainbox_sdk import errors

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("jobs", "show", "nope"), 5, "nope"),
        (("models", "show", "nope"), 5, "nope"),
        (("data", "show", "nope"), 5, "nope"),
        (("tasks", "show", "binclas"), 5, "Did you mean 'binclass'?"),
        (("jobs", "submit", "binclass", "--data", "nope"), 5, "nope"),
        (("jobs", "submit", "binclass"), 8, "dataset_id"),
        (("jobs", "submit", "binclass", "-p", "trials"), 2, "NAME=VALUE"),
        (("jobs", "submit", "binclass", "--memory", "much"), 2, "2GiB"),
        (("jobs", "submit"), 2, "TASK"),
        (("jobs", "ls", "--state", "asleep"), 2, "asleep"),
        (("jobs", "dance"), 2, "dance"),
        (("dance",), 2, "dance"),
        (("data", "put", "nowhere.csv"), 2, "nowhere.csv"),
        (("data", "put", "README.md"), 2, "--format"),
        (("jobs", "ls", "--token", "wrong"), 6, "not known"),
        (("--url", "ftp://x", "jobs", "ls"), 2, "ftp://x"),
    ],
)
def test_expected_failures(run, args, code, said):
    result = run(*args, code=code)
    assert said in result.err
    assert result.out == ""
    assert "Traceback" not in result.err


def test_nobody_listens(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = run("jobs", "ls", "--url", url, code=7)
    assert url in result.err
    assert "trainbox serve" in result.err


def test_no_token_anywhere(run, tmp_path):
    result = run("jobs", "ls", env={"TRAINBOX_TOKEN": ""}, code=6)
    assert str(tmp_path / "state" / "token") in result.err
    assert "TRAINBOX_TOKEN" in result.err


def test_the_token_file_of_the_state_directory_is_used(run, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "token").write_text("fake-token\n")
    assert run("jobs", "ls", "--json", env={"TRAINBOX_TOKEN": ""}).json() == []


def test_a_wrong_setting_is_named(run):
    result = run("serve", env={"TRAINBOX_PORT": "seventy"}, code=2)
    assert "port" in result.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRAINBOX_ALLOWED_HOSTS", "[not json"),
        ("TRAINBOX_CONFIG", "/nowhere/trainbox.toml"),
        ("TRAINBOX_CONFIG", __file__),
        ("TRAINBOX_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(run, name, value):
    result = run("serve", env={name: value}, code=2)
    assert "A setting is wrong." in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Conflict("m"), 9),
        (errors.StorageFull("m"), 9),
        (errors.Forbidden("m"), 6),
        (errors.TooLarge("m"), 8),
        (errors.Unavailable("m"), 7),
        (RuntimeError("m"), 1),
    ],
)
def test_the_daemons_errors_have_exit_codes(run, daemon, error, code):
    daemon.engine.raises["jobs"] = error
    result = run("jobs", "ls", code=code)
    assert ("request id" in result.err) == (code in (1, 7) or isinstance(error, errors.StorageFull))


def test_errors_are_json_under_json(run):
    result = run("jobs", "show", "nope", "--json", code=5)
    document = json.loads(result.err)
    assert (document["code"], document["exit_code"], result.out) == ("job_not_found", 5, "")


def test_all_wrong_fields_are_shown_with_hints(run, table):
    result = run(
        "jobs", "submit", "binclass", "--data", table, "-p", "trials=201", "-p", "target=x", code=8
    )
    assert "params.trials: 201 is not within 1..200" in result.err
    assert "params.target: no column 'x'" in result.err


def test_a_finished_job_cannot_be_cancelled(run, daemon, job):
    made = job()
    daemon.do(daemon.engine.finish(made))
    assert "already succeeded" in run("jobs", "cancel", made, code=9).err


def test_the_documented_table_is_the_code():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {(int(number), name) for number, name in rows} == {
        (code.value, code.name) for code in Exit
    }
    assert set(STATUS_EXITS.values()) <= set(Exit)
