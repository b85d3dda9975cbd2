"""The quickstart's own part: order, output, clean-up; the engine behind it is the fake one."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from trainbox import workbench
from trainbox.cli import child, quickstart
from trainbox.cli.exits import CliError
from trainbox_sdk.engine import Check
from trainbox_sdk.jobs import State
from trainbox_sdk.testing.fake_engine import TOKEN


@pytest.fixture
def staged(daemon, monkeypatch, tmp_path):
    """Put the running fake daemon in the place of one of its own."""
    daemon.engine.autorun = True
    token = tmp_path / "token"
    token.write_text(TOKEN)

    @contextlib.contextmanager
    def own_daemon(state_dir):
        state_dir.mkdir(parents=True, exist_ok=True)
        yield {"url": daemon.url, "token_file": str(token)}

    monkeypatch.setattr(quickstart, "own_daemon", own_daemon)
    monkeypatch.setattr(quickstart, "_environment", lambda state_dir, backend: backend or "fake")


def test_the_whole_way(run, staged, tmp_path):
    result = run("quickstart", "--state-dir", tmp_path / "qs", "--trials", "2", "--json")
    facts = result.json()
    assert facts["backend"] == "fake"
    assert len(facts["rows"]) == len(facts["predictions"]) == 2
    assert set(facts["rows"][0]) >= {"city", "plan", "age", "last_contact"}
    assert "churned" not in facts["rows"][0]
    assert list(facts["seconds"]) == [
        "environment",
        "start",
        "upload",
        "train",
        "download",
        "predict",
    ]
    assert (tmp_path / "qs" / "churn.onnx").exists()
    assert result.err == "", "under --json the document is all there is"


def test_people_get_the_backend_the_rows_and_curl(run, staged, tmp_path):
    out = run("quickstart", "--state-dir", tmp_path / "qs", "--backend", "here").out
    assert "backend    here" in out
    assert out.count("predicted  {") == 2
    assert out.count("curl -sS") == 5
    assert TOKEN not in out, "the token stays in its file"


def test_the_printed_curl_calls_work(run, staged, daemon, environ, tmp_path):
    calls = run("quickstart", "--state-dir", tmp_path / "qs", "--json").json()["curl"]
    for call in calls:
        done = subprocess.run(
            ["bash", "-c", f"{call.replace('curl ', 'curl --noproxy * -f ', 1)} -o answer"],
            env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{call}: {done.stderr}"


def test_a_job_that_fails_is_exit_3_with_its_reason(run, staged, daemon, monkeypatch, tmp_path):
    async def fail(job_id):
        await daemon.engine.finish(job_id, State.FAILED, "no memory left")

    monkeypatch.setattr(daemon.engine, "run", fail)
    result = run("quickstart", "--state-dir", tmp_path / "qs", code=3)
    assert "no memory left" in result.err
    hint = result.err.splitlines()[-1]
    assert f"'trainbox serve --state-dir {tmp_path / 'qs'}'" in hint, "its daemon has stopped"
    assert f"TRAINBOX_STATE_DIR={tmp_path / 'qs'} trainbox jobs logs job_" in hint
    result = run("quickstart", "--state-dir", tmp_path / "qs", "--json", code=3)
    assert "no memory left" in json.loads(result.err)["where"][0]


def test_a_backend_that_was_passed_over_is_named_with_what_the_next_one_leaves_open(
    run, staged, daemon, monkeypatch, tmp_path
):
    monkeypatch.setattr(quickstart, "_environment", lambda state_dir, backend: "process")
    said = "docker: no engine answers; process: one uid; NOT confined: network"
    daemon.engine.checks = (Check("backend", ok=True, detail=said),)
    chosen = run("quickstart", "--state-dir", tmp_path / "qs").err
    assert "passed over: docker: no engine answers\n" in chosen
    assert "process: one uid; NOT confined: network\n" in chosen
    asked = run("quickstart", "--state-dir", tmp_path / "qs", "--backend", "process").err
    assert "passed over" not in asked


def test_ctrl_c_cancels_the_job_and_leaves_nothing_running(
    run, staged, daemon, monkeypatch, tmp_path
):
    @contextlib.contextmanager
    def interrupted(session):
        raise KeyboardInterrupt
        yield

    daemon.engine.autorun = False
    monkeypatch.setattr(quickstart, "display", interrupted)
    run("quickstart", "--state-dir", tmp_path / "qs", code=130)
    assert [job["state"] for job in run("jobs", "ls", "--json").json()] == ["cancelled"]


def test_a_daemon_that_does_not_start_says_why(tmp_path, monkeypatch):
    blocked = tmp_path / "state"
    blocked.mkdir()
    monkeypatch.setenv("TRAINBOX_PLUGINS_FILE", str(tmp_path / "absent.toml"))
    with pytest.raises(CliError) as refused:
        with child.own_daemon(blocked):
            pass
    assert "did not start" in refused.value.message
    assert "absent.toml" in refused.value.where[0]
    assert str(blocked) in refused.value.next_step


def test_an_own_daemon_starts_answers_and_stops(tmp_path):
    with child.own_daemon(tmp_path / "state") as announced:
        token = pathlib.Path(announced["token_file"]).read_text().strip()
        argv = ["curl", "--noproxy", "*", "-sf", announced["url"] + "/v1/plugins"]
        done = subprocess.run(
            [*argv, "-H", f"Authorization: Bearer {token}"], capture_output=True, check=True
        )
        names = {plugin["name"] for plugin in json.loads(done.stdout)["items"]}
        assert "native" in names
    gone = subprocess.run(argv, capture_output=True)
    assert gone.returncode == 7, "nobody listens any more"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_who_is_told_to_end_stops_the_own_daemon_too(environ, tmp_path, number):
    code = (
        "import pathlib, sys, time\nfrom trainbox.cli.child import own_daemon\n"
        "with own_daemon(pathlib.Path(sys.argv[1])) as announced:\n"
        "    print(announced['url'], flush=True)\n    time.sleep(60)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "state")],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with starter:
        url = starter.stdout.readline().strip()
        starter.send_signal(number)
        starter.wait(60)
    # A killed starter waits for nobody: its daemon is told by the kernel, and takes a moment.
    argv = ["curl", "--noproxy", "*", "-sf", f"{url}/livez"]
    while subprocess.run(argv, capture_output=True).returncode != 7 and number == signal.SIGKILL:
        time.sleep(0.1)
    gone = subprocess.run(argv, capture_output=True)
    assert gone.returncode == 7, "nobody listens any more"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_who_is_told_to_end_while_it_builds_cleans_up_first(environ, tmp_path, number):
    code = (
        "import asyncio, sys\nfrom trainbox import workbench\n"
        "async def build(settings, names, backend, report):\n"
        "    try:\n        print('building', flush=True)\n        await asyncio.sleep(60)\n"
        "    finally:\n        print('cleaned up', flush=True)\n"
        "workbench.build_environments = build\n"
        "from trainbox.cli.root import main\nmain(['quickstart', '--state-dir', sys.argv[1]])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "qs")],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "building\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "cleaned up\n")
    assert "Error: Interrupted." in err
    assert "Traceback" not in err


def test_a_build_that_waits_for_a_process_ends_with_it(environ, tmp_path):
    code = (
        "import asyncio, subprocess, sys\nfrom trainbox import workbench\n"
        "def pip():\n"
        "    child = subprocess.Popen(['sleep', '300'])\n"
        "    print(child.pid, flush=True)\n"
        "    print(child.wait(), flush=True)\n"
        "async def build(settings, names, backend, report):\n"
        "    await asyncio.to_thread(pip)\n"
        "workbench.build_environments = build\n"
        "from trainbox.cli.root import main\nmain(['quickstart', '--state-dir', sys.argv[1]])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "qs")],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, f"{-signal.SIGTERM}\n")
    assert not pathlib.Path(f"/proc/{child}").exists()


def test_stopping_is_not_interrupted():
    with child.undisturbed():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_daemon_on_one_state_directory_says_so_in_whole_sentences(tmp_path):
    with child.own_daemon(tmp_path / "state"):
        log = tmp_path / "state" / child.LOG_NAME
        before = log.read_bytes()
        with pytest.raises(CliError) as refused, child.own_daemon(tmp_path / "state"):
            pass
        assert log.read_bytes().startswith(before), "the log of the one that runs is kept"
    assert "is running on this state directory. Stop that one first" in refused.value.where[0]


def test_without_an_environment_it_says_what_to_list(run, monkeypatch, tmp_path):
    async def nothing(settings, names, backend, report):
        return []

    monkeypatch.setattr(workbench, "build_environments", nothing)
    result = run("quickstart", "--state-dir", tmp_path / "qs", code=8)
    assert "tabular" in result.err
