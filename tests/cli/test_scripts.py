"""``trainbox assets`` and ``trainbox run``: files up and down, a script followed to its model."""

import json

import pytest

from trainbox_sdk import errors
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import TaskInfo

SCRIPT = "print('hello')\n"


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(autouse=True)
def task(daemon):
    info = TaskInfo("custom_script", "Custom script", "", {}, False, Resources(), "custom_script")
    daemon.engine.further_tasks.append(info)


def test_an_asset_goes_up_and_comes_back(run, script, tmp_path):
    made = run("assets", "upload", script, "--kind", "script", "--description", "mine").out.strip()
    assert made.startswith("ast_")
    assert run("assets", "ls", "--kind", "script", "-o", "id").out.split() == [made]
    assert run("assets", "ls", "--kind", "weights", "-o", "id").out.split() == []
    shown = run("assets", "show", made, "--json").json()
    assert (shown["filename"], shown["kind"], shown["description"]) == (
        "train.py",
        "script",
        "mine",
    )
    back = tmp_path / "back.py"
    assert run("assets", "pull", made, "-o", back).out.strip() == str(back)
    assert back.read_text() == SCRIPT


def test_deleting_asks(run, script):
    made = run("assets", "upload", script).out.strip()
    assert "Would delete train.py" in run("assets", "rm", made, "--dry-run").err
    assert "Nobody can be asked" in run("assets", "rm", made, code=2).err
    assert "Deleted train.py" in run("assets", "rm", made, "--yes").err
    assert "no asset" in run("assets", "show", made, code=5).err


def test_what_the_daemon_refuses_is_said(run, script):
    assert (
        "must not start with a dot"
        in run("assets", "upload", script, "--filename", ".hidden", code=8).err
    )


def test_run_uploads_every_file_and_queues_one_job(run, script, tmp_path, table, daemon):
    for name in ("requirements.txt", "config.json", "start.bin"):
        (tmp_path / name).write_text("x")
    done = run(
        "run", script, "--runtime", "python3.12", "--data", table, "--requirements",
        "requirements.txt", "--with", "config.json", "--weights", "start.bin", "--env", "A=b=c",
        "--memory", "1GiB", "--detach", "--json", "--", "--epochs", "3",
    )  # fmt: skip
    job = done.json()
    assert job["task"] == "custom_script"
    params = job["params"]
    assert params["entry_point"] == "train.py"
    assert params["runtime"] == "python3.12"
    assert params["environment_vars"] == {"A": "b=c"}
    assert params["arguments"] == ["--epochs", "3"]
    assert [(use["name"], use["kind"]) for use in params["assets"]] == [
        ("train.py", "script"),
        ("requirements.txt", "requirements"),
        ("start.bin", "weights"),
        ("config.json", "other"),
    ]
    stored = run("assets", "ls", "-o", "json").json()
    assert {use["asset"] for use in params["assets"]} == {each["id"] for each in stored}
    assert job["dataset_id"]


def test_two_files_of_one_name_are_refused_before_any_is_sent(run, script, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.py").write_text("x")
    failed = run("run", script, "--with", tmp_path / "other" / "train.py", code=2)
    assert "Several files are named train.py" in failed.err
    assert run("assets", "ls", "-o", "json").json() == []


def test_a_variable_without_a_value_is_refused_before_any_file_is_sent(run, script):
    assert "--env takes NAME=VALUE" in run("run", script, "--env", "A", code=2).err
    assert run("assets", "ls", "-o", "json").json() == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nope.py"], 2, "There is no file nope.py"),
        (["."], 2, ". is no file"),
        (["train.py", "--data", "nope.csv"], 5, "There is no file nope.csv here, and no dataset"),
        (["train.py", "--data", "./nope.csv"], 2, "No such file"),
        (["train.py", "--with", "empty.txt"], 2, "empty.txt is empty"),
        (["train.py", "--memory", "much"], 2, "much"),
    ],
)
def test_what_is_wrong_is_said_before_any_file_is_sent(run, script, tmp_path, words, code, told):
    (tmp_path / "empty.txt").touch()
    assert told in run("run", *words, code=code).err
    assert run("assets", "ls", "-o", "json").json() == []


def test_files_of_a_job_that_is_refused_do_not_stay(run, script, daemon):
    refusal = errors.ValidationFailed("is set by trainbox")
    daemon.engine.raises["submit"] = refusal
    assert "is set by trainbox" in run("run", script, "--env", "DATASET_PATH=x", code=8).err
    assert run("assets", "ls", "-o", "json").json() == []


def test_files_stay_where_the_job_may_have_been_queued(run, script, daemon):
    daemon.engine.raises["submit"] = RuntimeError("lost")
    run("run", script, code=1)
    assert len(run("assets", "ls", "-o", "json").json()) == 1


def test_a_run_is_followed_and_what_it_left_is_fetched(run, script, tmp_path, daemon):
    daemon.engine.autorun = True
    done = run("run", script, "-o", tmp_path / "out")
    assert done.out.strip() == str(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]
    assert "succeeded" in done.err


def test_under_json_the_last_document_is_the_job_and_its_files(run, script, tmp_path, daemon):
    daemon.engine.autorun = True
    done = run("run", script, "-o", tmp_path / "out", "--json")
    last = done.out[done.out.index("{\n") :]

    document = json.loads(last)
    assert document["job"]["state"] == "succeeded"
    assert document["files"] == [str(tmp_path / "out" / "model.onnx")]
