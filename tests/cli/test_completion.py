"""A real bash that was taught the command line by its own script."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainbox.cli import offers

PROBE = """
set -euo pipefail
eval "$(trainbox completion bash)"
[[ $(complete -p trainbox) == *_trainbox_completion* ]]
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_trainbox_completion trainbox "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]-}"
"""
"""What bash does at a press of Tab: fill the words, call the function, read COMPREPLY."""


@pytest.fixture
def press_tab(environ, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "trainbox"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trainbox "$@"\n')
    program.chmod(0o755)
    plain = {key: value for key, value in environ.items() if not key.startswith("COMP_")}

    def press(*words, **env):
        path = f"{folder}:{plain['PATH']}"
        done = subprocess.run(
            ["bash", "--norc", "-c", PROBE, "bash", "trainbox", *words],
            capture_output=True,
            text=True,
            env=plain | {"PATH": path} | env,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [line for line in done.stdout.split("\n") if line]

    return press


def test_commands_and_options(press_tab):
    assert press_tab("mod") == ["models"]
    assert set(press_tab("models", "p")) == {"pull", "predict", "promote"}
    assert set(press_tab("models", "pull", "--")) >= {"--all", "--file", "--output", "--json"}
    assert press_tab("tokens", "create", "x", "--scope", "sub") == ["submit"]
    assert press_tab("completion", "") == ["bash", "zsh", "fish"]


def test_names_and_ids_come_from_the_daemon(press_tab, run, daemon, job):
    made = job("--name", "churn")
    daemon.do(daemon.engine.finish(made))
    assert press_tab("models", "show", "") == ["churn"]
    assert press_tab("models", "show", "mdl") == run("models", "ls", "-o", "id").out.split()
    assert press_tab("jobs", "show", "") == [made]
    assert press_tab("data", "show", "kun") == ["kunden"]
    assert "binclass" in press_tab("jobs", "submit", "")
    assert press_tab("jobs", "submit", "binclass", "--data", "kun") == ["kunden"]


@pytest.mark.parametrize(
    "env",
    [
        {"TRAINBOX_URL": "http://127.0.0.1:1"},
        {"TRAINBOX_URL": "nonsense"},
        {"TRAINBOX_URL": "unix:///nowhere"},
        {"TRAINBOX_TOKEN": "wrong"},
        {"TRAINBOX_TOKEN": ""},
    ],
    ids=["away", "no-url", "no-socket", "wrong-token", "no-token"],
)
def test_without_an_answer_nothing_is_offered_and_nothing_said(press_tab, env):
    assert press_tab("models", "show", "", **env) == []


def test_a_slow_daemon_is_not_waited_for(monkeypatch):
    """In this process, where the time is a number and not a race."""
    monkeypatch.setenv("TRAINBOX_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TRAINBOX_TOKEN", "any")
    asked = []

    class Silent:
        def __init__(self, host, port, timeout):
            asked.append(timeout)

        def request(self, *args, **named):
            raise TimeoutError

        def close(self):
            pass

    monkeypatch.setattr("http.client.HTTPConnection", Silent)
    context = _context("models", "show")
    param = context.command.params[0]
    assert param.type.shell_complete(context, param, "") == []
    assert asked == [offers.ANSWER_S]
    assert offers.ANSWER_S <= 0.3


def test_a_name_with_a_blank_is_one_word_for_bash(press_tab, daemon, job):
    daemon.do(daemon.engine.finish(job("--name", "churn model (new)")))
    assert press_tab("models", "show", "chu") == ["'churn model (new)'"]
    assert press_tab("models", "show", r"churn\ mo") == ["'churn model (new)'"]


def test_names_that_would_steer_the_terminal_are_left_out(press_tab, daemon, job):
    daemon.do(daemon.engine.finish(job("--name", "evil\x1b[31m")))
    daemon.do(daemon.engine.finish(job("--name", "good")))
    assert press_tab("models", "show", "") == ["good"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_of_its_own(run, shell, tmp_path):
    script = run("completion", shell).out
    assert f"_TRAINBOX_COMPLETE={shell}_complete" in script
    if shell == "bash":
        path = Path(tmp_path, "script")
        path.write_text(script)
        subprocess.run(["bash", "-n", path], check=True)


def _context(*words):
    from trainbox.cli.root import cli

    context = cli.make_context("trainbox", list(words), resilient_parsing=True)
    command = cli
    for word in words:
        command = command.get_command(context, word)
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    return context
