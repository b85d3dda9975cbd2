"""``trainbox jobs``: found, compared, repeated, freed; against the real HTTP layer."""

import threading

import pytest

from trainbox_sdk import errors
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_engine import ONNX_BYTES


@pytest.fixture
def three(daemon, job):
    made = [
        job("--name", "eins", "--label", "team=blue", "-p", "trials=1"),
        job("--name", "zwei", "--label", "team=red", "--priority", "5", "-p", "trials=2"),
        job("--name", "drei", "--label", "other=x", "-p", "trials=3"),
    ]
    daemon.do(daemon.engine.finish(made[0]))
    return made


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), (2, 1, 0)),
        (("--reverse",), (0, 1, 2)),
        (("--label", "team"), (1, 0)),
        (("--label", "team=red"), (1,)),
        (("--label", "team", "--label", "other"), ()),
        (("--name", "eins"), (0,)),
        (("-q", "EI"), (2, 1, 0)),
        (("-q", "we"), (1,)),
        (("--state", "succeeded"), (0,)),
        (("--sort", "finished"), (0,)),
        (("--sort", "priority", "--limit", "1"), (1,)),
        (("--since", "1h"), (2, 1, 0)),
        (("--until", "1h"), ()),
        (("--since", "2999-01-01"), ()),
        (("--until", "2999-01-01T12:00+02:00"), (2, 1, 0)),
        (("--data", "kunden"), (2, 1, 0)),
        (("--data", "kunden:1"), (2, 1, 0)),
        (("--backend", "nowhere"), ()),
    ],
)
def test_filters_and_order(run, three, words, found):
    assert run("jobs", "ls", *words, "-o", "id").out.split() == [three[at] for at in found]


def test_since_takes_no_nonsense(run):
    assert "'soon' is not 2d (ago)" in run("jobs", "ls", "--since", "soon", code=2).err
    assert "nope" in run("jobs", "ls", "--data", "nope", code=5).err


def test_the_same_again_is_said_and_taken_if_wanted(run, three, job, table):
    words = ("--target", "target", "-p", "trials=1")
    again = run("jobs", "submit", "binclass", "--data", table, *words)
    assert f"Job {three[0]} does or did exactly this" in again.err
    reused = run("jobs", "submit", "binclass", "--data", table, *words, "--if-identical", "reuse")
    assert "of before" in reused.err
    assert "nothing was queued" in reused.err
    assert reused.out.strip() in {three[0], again.out.strip()}
    assert len(run("jobs", "ls", "--json").json()) == 4


def test_compare(run, three):
    shown = run("jobs", "compare", *three[:2])
    lines = [line.split("\t") for line in shown.out.splitlines()]
    assert lines[0] == ["", *three[:2]]
    assert ["state", "succeeded", "queued"] in lines
    assert ["param trials", "1", "2"] in lines
    assert "All read the same data." in shown.err
    assert run("jobs", "compare", *three, "--json").json()["same_data"] is True
    assert "at least two" in run("jobs", "compare", three[0], code=2).err
    assert "nope" in run("jobs", "compare", three[0], "nope", code=5).err


def test_reproduce_and_its_own_command_line_makes_the_same_job(run, three):
    told = run("jobs", "reproduce", three[0]).out
    assert told.startswith("# curl\ncurl ")
    assert "\n# cli\ntrainbox jobs submit binclass" in told
    assert "\n# python\n" in told
    command = run("jobs", "reproduce", three[0], "--as", "cli").out
    assert command.count("\n") == 1
    assert run("jobs", "reproduce", three[0], "--as", "request").json()["task"] == "binclass"
    assert set(run("jobs", "reproduce", three[0], "--json").json()) >= {"curl", "cli", "python"}
    words = command.split()[1:]
    made = run(*words, "--target", "target", "--json").json()
    assert made["dataset_id"] == run("jobs", "show", three[0], "--json").json()["dataset_id"]


def test_explain_and_show_say_what_to_do_next(run, three):
    told = run("jobs", "explain", three[1]).out
    assert "number 1 in the queue" in told
    assert f"next  Look again: trainbox jobs show {three[1]}" in told
    assert "number 1 in the queue" in run("jobs", "show", three[1]).out
    assert "queue" not in run("jobs", "show", three[0]).out
    assert run("jobs", "explain", three[0], "--json").json()["state"] == "succeeded"


def test_labels_and_priority(run, three):
    assert run("jobs", "label", three[0], "a=1", "team-", "--json").json()["labels"] == {"a": "1"}
    assert run("jobs", "priority", three[1], "-7", "--json").json()["priority"] == -7
    assert "-101" in run("jobs", "priority", three[1], "-101", code=2).err


def test_rm_asks_refuses_what_goes_on_and_says_what_it_freed(run, three):
    first, second, _ = three
    assert f"Would free the files of job {first}" in run("jobs", "rm", first, "--dry-run").err
    assert "--yes" in run("jobs", "rm", first, "--no-input", code=2).err
    both = run("jobs", "rm", first, second, "--yes", code=9)
    assert f"trainbox jobs cancel {second}" in both.err
    assert run("jobs", "show", first, "--json").json()["deleted_at"] is None, "all or none"
    assert "freed" in run("jobs", "rm", first, "--yes").err
    assert run("jobs", "show", first, "--json").json()["deleted_at"] is not None


def test_a_log_is_followed_from_before_the_start_and_through_a_restart(run, spawn, daemon, job):
    made = job()
    process = spawn("jobs", "logs", made, "-f")
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(process.stdout))
    reader.start()
    daemon.do(daemon.engine.write_log(made, "erste Zeile ü\n".encode()))
    while not seen:
        reader.join(0.02)
    daemon.down()
    daemon.up()
    daemon.do(daemon.engine.write_log(made, b"second\n"))
    daemon.do(daemon.engine.finish(made))
    assert process.wait(60) == 0
    reader.join()
    assert seen == ["erste Zeile ü\n", "second\n"], "nothing twice"


def test_a_file_of_a_job(run, three, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("jobs", "pull", three[0], "model.onnx").out.strip() == "model.onnx"
    assert (tmp_path / "model.onnx").read_bytes() == ONNX_BYTES
    identity = run("jobs", "artifacts", three[0], "-o", "id").out.split()[0]
    run("jobs", "pull", three[0], identity, "-o", "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == ONNX_BYTES
    assert "model.onnx" in run("jobs", "pull", three[0], "model.txt", code=5).err


def test_logs_under_json_are_lines(run, daemon, job):
    made = job()
    daemon.do(daemon.engine.write_log(made, b"one\n"))
    assert run("jobs", "logs", made, "--json").json() == {"job_id": made, "text": "one\n"}


def test_lines_of_a_log_by_level_text_and_from_the_end(run, daemon, job):
    made = job()
    said = b"one\nWARNING: two\nERROR: three\nDEBUG: four\nERROR: \x1b[31mfive\n"
    daemon.do(daemon.engine.write_log(made, said))
    assert run("jobs", "logs", made, "--level", "error").out == "ERROR: three\nERROR: five\n"
    assert run("jobs", "logs", made, "--grep", "error", "--tail", 1).out == "ERROR: five\n"
    assert run("jobs", "logs", made, "--tail", 2).out == "DEBUG: four\nERROR: five\n"
    assert run("jobs", "logs", made, "--tail", 50).out.count("\n") == 5
    assert run("jobs", "logs", made, "--level", "error", "--grep", "one").out == ""
    line = run("jobs", "logs", made, "--grep", "two", "--json").json()
    assert (line["number"], line["level"]) == (2, "warning")
    assert "--follow" in run("jobs", "logs", made, "-f", "--tail", 1, code=2).err


def test_many_lines_come_page_by_page(run, daemon, job):
    made = job()
    daemon.do(daemon.engine.write_log(made, b"".join(b"%d\n" % n for n in range(12_345))))
    out = run("jobs", "logs", made, "--level", "debug").out
    assert out.splitlines() == [str(n) for n in range(12_345)]
    assert run("jobs", "logs", made, "--tail", 6000).out.splitlines()[0] == "6345"


def test_a_failed_job_says_why_even_where_the_report_does_not_come(run, daemon, job):
    made = job()
    daemon.do(daemon.engine.finish(made, State.FAILED, "no memory left"))
    daemon.engine.raises["explain_job"] = errors.Unavailable("stopping")
    ended = run("jobs", "wait", made, code=3)
    assert "no memory left" in ended.err
    assert f"trainbox jobs logs {made}" in ended.err
