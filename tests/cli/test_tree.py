"""The whole tree of commands: documented, described, and cheap to ask for help."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.root import cli

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = (
    "aiohttp", "anyio", "asyncio", "docker", "duckdb", "httpx2", "numpy", "onnxruntime", "pandas",
    "pyarrow", "pydantic", "rich", "sqlalchemy", "sqlmodel", "trainbox_client",
)  # fmt: skip


def leaves(command=cli, path=()):
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))


TREE = dict(leaves())


def documented():
    """Every span of code in the first column of the table of commands, as its words."""
    section = DOCS.read_text(encoding="utf-8").split("## Commands")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    for row in rows:
        first = re.split(r"(?<!\\)\|", row)[1]
        for span in re.findall(r"`([^`]+)`", first):
            yield shlex.split(re.sub(r"[\[\]…]", " ", span.replace("\\|", "/")))


def command_of(words):
    return next((name for n in (2, 1) if (name := " ".join(words[:n])) in TREE), None)


def test_the_documented_commands_are_the_tree():
    named = [command_of(words) or " ".join(words) for words in documented()]
    assert sorted(set(named)) == sorted(TREE)


def test_the_documented_options_exist():
    for words in documented():
        command = TREE[command_of(words)]
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        asked = {word for word in words if re.match(r"--?[a-z]", word)}
        assert asked <= known, words


@pytest.mark.parametrize("name", sorted(TREE))
def test_every_command_says_what_it_does(name):
    command = TREE[name]
    assert command.help, name
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            known = param.help or isinstance(param.type, click.Choice) or param.show_default
            assert known, (name, param.name)


@pytest.mark.parametrize(
    "calls",
    [
        [["--help"]],
        [["jobs", "--help"]],
        [["jobs", "submit", "--help"]],
        [["--version"]],
        [["completion", "zsh"]],
        [[*name.split(), "--help"] for name in sorted(TREE)],
    ],
    ids=["trainbox", "jobs", "jobs-submit", "version", "completion", "every-command"],
)
def test_help_imports_nothing_heavy(calls):
    code = (
        "import sys\nfrom trainbox.cli import main\n"
        f"for args in {calls!r}:\n"
        "    try:\n        main(args)\n"
        "    except SystemExit as left:\n        assert not left.code, args\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_error_about_one_field_is_said_once():
    error = CliError("url: closed", Exit.REJECTED, where=["url: closed", "events: none"])
    assert error.as_text() == "Error: url: closed\n  events: none"
    assert '"where": ["url: closed", "events: none"]' in error.as_json()
