"""Every verb against the real HTTP layer: data on stdout, talk on stderr, --json everywhere."""

import asyncio
import hashlib
import json

import pytest

from trainbox.cli import client
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_engine import ONNX_BYTES


def test_data_put_ls_show(run, table):
    made = run("data", "put", table)
    identity = made.out.strip()
    assert "3 rows, 3 columns" in made.err
    assert run("data", "put", table, "--name", "zwei", "--json").json()["name"] == "zwei"
    listing = run("data", "ls").out.splitlines()
    assert listing[0] == "ID\tNAME\tVERSION\tROWS\tCOLUMNS\tSIZE\tCREATED"
    assert [line.split("\t")[1] for line in listing[1:]] == ["zwei", "kunden"]
    assert len(run("data", "ls", "--json").json()) == 2
    shown = run("data", "show", "kunden")
    assert identity in shown.out
    assert "city\tstring\t1\t2" in shown.out
    assert run("--json", "data", "show", identity).json()["rows"] == 3


def test_data_put_from_stdin(run):
    made = run("data", "put", "-", "--format", "csv", "--json", stdin="a,b\n1,2\n").json()
    assert (made["name"], made["rows"]) == ("stdin", 1)


def test_jobs_submit_show_ls_cancel_retry(run, daemon, job):
    first = job("-p", "trials=7", "--label", "team=a=b", "--memory", "2GiB", "--name", "Wörter")
    shown = run("jobs", "show", first, "--json").json()
    assert shown["params"] == {"target": "target", "trials": 7}
    assert shown["labels"] == {"team": "a=b"}
    assert shown["resources"]["memory_bytes"] == 2 * 1024**3
    assert "trials  7" in run("jobs", "show", first).out
    second = job()
    assert [item["id"] for item in run("jobs", "ls", "--json").json()] == [second, first]
    assert [item["id"] for item in run("jobs", "ls", "--all", "--limit", 1, "--json").json()] == [
        second,
        first,
    ]
    assert "is cancelled" in run("jobs", "cancel", first).err
    only = run("jobs", "ls", "--state", "cancelled", "--state", "failed", "--json").json()
    assert [item["id"] for item in only] == [first]
    assert run("jobs", "retry", first, "--json").json()["state"] == "queued"


def test_a_job_that_cannot_end_at_once_is_cancelling(run, daemon, job, monkeypatch):
    made = job()

    async def later(who, job_id):
        return await daemon.engine.job(who, job_id)

    monkeypatch.setattr(daemon.engine, "cancel", later)
    assert f"Job {made} is cancelling" in run("jobs", "cancel", made).err


def test_submit_takes_a_dataset_by_name_and_params_from_a_file(run, table, tmp_path):
    run("data", "put", table, "--name", "kunden")
    params = tmp_path / "params.json"
    params.write_text('{"target": "target", "trials": 3}')
    made = run(
        "jobs", "submit", "binclass", "--data", "kunden", "--params-file", params,
        "-p", "trials=4", "--json",
    ).json()  # fmt: skip
    assert made["params"] == {"target": "target", "trials": 4}


def test_data_is_a_file_where_there_is_one_else_a_name(run, table, monkeypatch):
    monkeypatch.chdir(table.parent)
    submit = ("jobs", "submit", "binclass", "--target", "target", "--dataset")
    uploaded = run(*submit, "kunden.csv")
    assert "Uploaded the file kunden.csv as dataset kunden (" in uploaded.err
    named = run(*submit, "kunden")
    assert "Using dataset kunden (" in named.err
    assert len(run("data", "ls", "--json").json()) == 1
    assert "cannot be read" in run(*submit, "./absent.csv", code=2).err


def test_submit_twice_with_one_key_is_one_job(run, table):
    made = run("data", "put", table).out.strip()
    args = ("jobs", "submit", "binclass", "--data", made, "--target", "target", "--key", "k1")
    assert run(*args).out == run(*args).out


def test_submit_and_wait_prints_events_and_the_model(run, daemon, table):
    daemon.engine.autorun = True
    done = run("jobs", "submit", "binclass", "--data", table, "--target", "target", "--wait")
    assert done.out.strip().startswith("mdl_")
    for said in (
        "queued",
        "running",
        "50% trial 1 of 2, 1.0 s left",
        "accuracy = 0.75",
        "succeeded",
    ):
        assert said in done.err
    lines = run(
        "jobs", "submit", "binclass", "--data", table, "--target", "target", "--wait", "--json"
    )
    events = [json.loads(line) for line in lines.out.splitlines()]
    assert [event["kind"] for event in events][-1] == "state"


@pytest.mark.parametrize(
    ("state", "code"),
    [(State.SUCCEEDED, 0), (State.FAILED, 3), (State.INTERRUPTED, 3), (State.CANCELLED, 4)],
)
def test_wait_leaves_with_the_end_of_the_job(run, daemon, job, state, code):
    made = job()
    daemon.do(daemon.engine.finish(made, state, "Speicher reichte nicht"))
    ended = run("jobs", "wait", made, code=code)
    if code:
        assert "Speicher reichte nicht" in ended.err
        assert "Next: " in ended.err
    assert state.value in ended.out


def test_wait_times_out_with_124(run, job):
    made = job()
    late = run("jobs", "wait", made, "--timeout", "0.3", code=124)
    assert f"trainbox jobs wait {made}" in late.err


def test_logs_and_events(run, daemon, job):
    made = job()
    daemon.do(daemon.engine.run(made))
    assert run("jobs", "logs", made).out == "training\n"
    assert run("jobs", "logs", made, "--offset", 5).out == "ing\n"
    assert run("jobs", "logs", made, "--follow").out == "training\n"
    lines = run("jobs", "events", made).out.splitlines()
    assert len(lines) == 7
    parsed = [json.loads(line) for line in run("jobs", "events", made, "--json").out.splitlines()]
    assert [event["seq"] for event in parsed] == list(range(1, 8))
    rest = run("jobs", "events", made, "--follow", "--after", 6, "--json").out.splitlines()
    assert [json.loads(line)["seq"] for line in rest] == [7]


def test_artifacts(run, daemon, job):
    made = job()
    daemon.do(daemon.engine.finish(made))
    assert run("jobs", "artifacts", made, "--json").json()[0]["name"] == "model.onnx"
    assert "model.onnx" in run("jobs", "artifacts", made).out


def test_escape_sequences_in_names_do_not_reach_the_terminal(run, job, daemon):
    made = job("--name", "evil\x1b[31m\x07")
    assert "\x1b" not in run("jobs", "ls").out
    assert "\x1b" not in run("jobs", "show", made).out
    daemon.do(daemon.engine.emit(made, "message", text="\x1b]0;title\x07hi"))
    assert "\x1b" not in run("jobs", "events", made).out


@pytest.fixture
def model(daemon, job):
    made = job("--name", "churn")
    daemon.do(daemon.engine.finish(made))
    return "churn"


def test_models(run, model, tmp_path):
    assert run("models", "ls", "--json").json()[0]["name"] == "churn"
    assert "churn" in run("models", "ls").out
    assert "age" in run("models", "show", "churn").out
    assert "churn@champion is version 1" in run("models", "alias", "churn:1", "champion").err
    assert run("models", "show", "churn@champion", "--json").json()["aliases"] == ["champion"]
    path = tmp_path / "out.onnx"
    pulled = run("models", "pull", "churn@champion", "-o", path, "--json").json()
    assert path.read_bytes() == ONNX_BYTES
    assert pulled["digest"] == "sha256:" + hashlib.sha256(ONNX_BYTES).hexdigest()
    assert list(tmp_path.glob(".*part")) == []


def test_a_model_name_cannot_choose_a_folder(run, daemon, job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = job("--name", "../../etc/evil")
    daemon.do(daemon.engine.finish(made))
    identity = run("jobs", "show", made, "--json").json()["model_id"]
    path = run("models", "pull", identity).out.strip()
    assert "/" not in path
    assert (tmp_path / path).exists()


def test_a_damaged_download_is_not_kept(run, daemon, model, tmp_path):
    file = next(iter(daemon.engine._artifacts.values()))
    file.path.write_bytes(b"damaged" + ONNX_BYTES[7:])
    path = tmp_path / "out.onnx"
    refused = run("models", "pull", model, "-o", path, code=1)
    assert "digest" in refused.err
    assert not path.exists()


def test_predict_from_csv_json_jsonl_and_pairs(run, model, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("age,city\n3.5,Köln\n,\n")
    lines = run("models", "predict", "churn", "--rows", table).out.splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == ["yes", "yes"]
    for name, text in [
        ("a.json", '[{"age": 1, "city": null}]'),
        ("b.json", '{"rows": [{"age": 1, "city": null}]}'),
        ("c.jsonl", '{"age": 1, "city": null}\n{"age": 2, "city": "x"}\n'),
    ]:
        (tmp_path / name).write_text(text)
        run("models", "predict", "churn", "--rows", tmp_path / name)
    run("models", "predict", "churn", "--rows", "-", stdin='[{"age": 1, "city": null}]')
    one = run("models", "predict", "churn", "--row", "age=3", "--row", "city=Łódź", "--json").json()
    assert one["rows"] == [{"prediction": "yes", "probabilities": {"yes": 0.75, "no": 0.25}}]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--row", "age=old", "--row", "city=x"), 8, "'old' is not a number"),
        (("--row", "age=1", "--row", "citi=x"), 8, "citi"),
        (("--row", "age"), 2, "NAME=VALUE"),
        ((), 2, "either --rows"),
        (("--rows", "nowhere.csv"), 2, "nowhere.csv"),
    ],
)
def test_wrong_rows(run, model, args, code, said):
    assert said in run("models", "predict", "churn", *args, code=code).err


def test_tasks_and_plugins(run):
    assert "binclass" in run("tasks", "ls").out
    assert "trials\t20\tinteger 1..200" in run("tasks", "show", "binclass").out
    assert run("tasks", "show", "binclass", "--json").json()["name"] == "binclass"
    assert "quarantined" in run("plugins", "ls").out
    assert run("plugins", "ls", "--json").json()[0]["status"] == "loaded"


def test_an_upload_that_takes_long_to_read_is_waited_for(run, daemon, table, monkeypatch):
    """Millions of rows take the daemon longer than any other answer."""
    put_dataset = daemon.engine.put_dataset

    async def slowly(*args, **named):
        await asyncio.sleep(1.0)
        return await put_dataset(*args, **named)

    monkeypatch.setattr(client, "ANSWER_S", 0.2)
    monkeypatch.setattr(daemon.engine, "put_dataset", slowly)
    assert run("data", "put", table).out.strip() in run("data", "ls").out
