"""The command as a real process: imports, signals, restarts of the daemon, pipes."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

HEAVY = ("rich", "aiohttp", "httpx2", "pydantic", "asyncio", "sqlmodel", "docker", "duckdb")


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["jobs", "submit", "--help"],
        ["models", "--help"],
        ["quickstart", "--help"],
        ["images", "build", "--help"],
        ["serve", "--help"],
        ["--version"],
    ],
)
def test_help_imports_nothing_heavy(args):
    code = (
        "import sys\nfrom trainbox.cli import main\n"
        f"try:\n    main({args!r})\nexcept SystemExit as left:\n    assert not left.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_whole_way(spawn, daemon, table):
    daemon.engine.autorun = True
    process = spawn("jobs", "submit", "binclass", "--data", table, "--target", "target", "--wait")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("mdl_")


def test_exit_codes_reach_the_shell(spawn):
    process = spawn("jobs", "show", "nope")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, "")
    assert err.startswith("Error: no job 'nope'")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["jobs", "submit", "--json"], "TASK"),
        (["--json", "jobs", "dance"], "dance"),
        (["data", "ls", "--json", "--limit", "many"], "many"),
        (["quickstart", "--json", "--trials", "0"], "trials"),
    ],
)
def test_a_wrong_command_line_is_one_document_under_json(spawn, args, said):
    process = spawn(*args)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    document = json.loads(err)
    assert said in document["error"]
    assert (document["code"], document["exit_code"]) == ("usage", 2)


@pytest.mark.parametrize("debug", ["", "1"])
def test_what_nobody_foresaw_is_a_sentence_and_the_traceback_on_demand(environ, debug):
    code = (
        "from trainbox.cli import root\ndef broken(*a, **k): raise LookupError('a slip of ours')\n"
        "root.cli.main = broken\nroot.main(['jobs', 'ls'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ | {"TRAINBOX_DEBUG": debug}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "LookupError: a slip of ours" in done.stderr
    assert ("Traceback" in done.stderr) == bool(debug)
    assert "TRAINBOX_DEBUG=1" in done.stderr


def test_a_start_that_a_setting_spoils_is_exit_2(spawn, tmp_path):
    spoilt = tmp_path / "plugins.toml"
    spoilt.write_text("[plugins\n")
    blocked = tmp_path / "file"
    blocked.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        starts = {
            "plugins_file_invalid": spawn("serve", "--json", env={"TRAINBOX_PLUGINS_FILE": spoilt}),
            "state_dir_unwritable": spawn(
                "serve", "--json", env={"TRAINBOX_STATE_DIR": blocked / "below"}
            ),
        }
        for code, process in starts.items():
            _, err = process.communicate(timeout=60)
            assert (process.returncode, code in err) == (2, True), err
        process = spawn("serve", "--json", "--port", port)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, "address_in_use" in err) == (2, True), err


def wait_for_line(stream, wanted):
    seen = []
    for line in stream:
        seen.append(line)
        if wanted in line:
            return seen
    raise AssertionError(f"ended without {wanted!r}: {seen}")


def test_ctrl_c_detaches_and_the_job_goes_on(spawn, daemon, run, job):
    made = job()
    process = spawn("jobs", "wait", made)
    wait_for_line(process.stderr, "queued")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"trainbox jobs wait {made}" in err
    assert "once more" not in err, "no terminal, no question"
    assert run("jobs", "show", made, "--json").json()["state"] == "queued"


def test_wait_survives_a_restart_of_the_daemon(spawn, daemon, job):
    made = job()
    process = spawn("jobs", "wait", made, "--json")
    wait_for_line(process.stdout, "queued")
    daemon.down()
    time.sleep(0.2)
    daemon.up()
    daemon.do(daemon.engine.run(made))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.count('"succeeded"') == 1
    numbers = [line.split('"seq": ')[1].split(",")[0] for line in out.splitlines()]
    assert numbers == ["2", "3", "4", "5", "6", "7"]


def test_a_reader_that_leaves_ends_the_command_quietly(spawn, daemon, job):
    made = job()
    for number in range(3000):
        daemon.do(daemon.engine.emit(made, "message", text=f"{number} " + "x" * 200))
    process = spawn("jobs", "events", made)
    process.stdout.readline()
    process.stdout.close()
    process.wait(60)
    err = process.stderr.read()
    process.stdout = None
    assert "Traceback" not in err
    assert process.returncode in (0, 1)


def test_serve_says_why_it_cannot_start(spawn, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    process = spawn("serve", "--state-dir", blocked / "state", "--port", "0")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "state directory" in err
    assert "Next: " in err
