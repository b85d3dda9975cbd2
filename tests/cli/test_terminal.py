"""On a terminal: a live line, a second Ctrl-C that offers to cancel, questions and answers."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from trainbox.cli.render import print_table


@pytest.fixture
def terminal(environ):
    """Start a command whose three streams are a terminal."""
    opened = []

    def call(*args):
        mine, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "trainbox", *args],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environ | {"TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        opened.append((mine, process))
        return process, Screen(mine)

    yield call
    for mine, process in opened:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(mine)


class Screen:
    """What the command wrote, as it comes."""

    def __init__(self, fd):
        self._fd = fd
        self.text = ""

    def until(self, wanted):
        while wanted not in self.text:
            try:
                chunk = os.read(self._fd, 4096)
            except OSError:
                chunk = b""
            assert chunk, f"ended without {wanted!r}: {self.text}"
            self.text += chunk.decode(errors="replace")

    def rest(self):
        while True:
            try:
                chunk = os.read(self._fd, 4096)
            except OSError:
                return self.text
            if not chunk:
                return self.text
            self.text += chunk.decode(errors="replace")

    def type(self, text):
        os.write(self._fd, text.encode())


def test_a_followed_job_is_shown_live(terminal, daemon, job):
    made = job()
    process, screen = terminal("jobs", "wait", made)
    screen.until("queued")
    daemon.do(daemon.engine.emit(made, "progress", fraction=0.42, message="trial 8 of 20"))
    screen.until("42%")
    screen.until("trial 8 of 20")
    daemon.do(daemon.engine.emit(made, "message", text="evil \x1b]0;title\x07 [red]markup[/red]"))
    daemon.do(daemon.engine.finish(made))
    text = screen.rest()
    assert process.wait(30) == 0
    assert "]0;title [red]markup[/red]" in text
    assert "\x1b]0;" not in text


@pytest.mark.parametrize(("answer", "state"), [("y\n", "cancelled"), ("n\n", "queued")])
def test_the_second_ctrl_c_offers_to_cancel(terminal, daemon, run, job, answer, state):
    made = job()
    process, screen = terminal("jobs", "wait", made)
    screen.until("queued")
    process.send_signal(signal.SIGINT)
    screen.until("once more")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    screen.until("[y/N]")
    screen.type(answer)
    screen.rest()
    assert process.wait(30) == 130
    assert run("jobs", "show", made, "--json").json()["state"] == state


def test_tables_on_a_terminal(terminal, job):
    made = job("--name", "eins [bold]zwei[/bold]")
    process, screen = terminal("jobs", "ls")
    text = screen.rest()
    assert process.wait(30) == 0
    assert made in text
    assert "[bold]zwei[/bold]" in text


def test_logs_on_a_terminal_lose_their_escapes(terminal, daemon, job):
    made = job()
    daemon.do(daemon.engine.write_log(made, b"red \x1b[31m and \x07 bell\n"))
    process, screen = terminal("jobs", "logs", made)
    text = screen.rest()
    assert process.wait(30) == 0
    assert "red [31m and  bell" in text


@pytest.mark.parametrize(
    ("typed", "code", "state"),
    [("n\n", 130, "active"), ("\n", 130, "active"), ("y\n", 0, "revoked")],
)
def test_a_token_ends_only_after_a_yes(terminal, run, typed, code, state):
    identity = run("tokens", "create", "ci", "--scope", "read", "--json").json()["id"]
    process, screen = terminal("tokens", "revoke", identity)
    screen.until("for good?")
    screen.type(typed)
    screen.rest()
    assert process.wait(30) == code
    assert f"state              {state}" in run("tokens", "show", identity).out


def test_nobody_is_asked_under_no_input(terminal, run):
    identity = run("tokens", "create", "ci", "--scope", "read", "--json").json()["id"]
    process, screen = terminal("tokens", "revoke", identity, "--no-input")
    assert "--yes" in screen.rest()
    assert process.wait(30) == 2


def test_a_table_shows_no_character_that_turns_or_steers_what_follows(capsys):
    print_table(("name",), [["a\x1b[31m\u202eb\u2066\u2028\x9b"]])
    assert capsys.readouterr().out == "name\na[31mb\n"
