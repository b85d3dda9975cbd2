"""Hints of the daemon name routes; the command line names commands that exist."""

import ast
import re
from pathlib import Path

import click
import pytest

from trainbox.cli.hints import COMMANDS, with_commands
from trainbox.cli.root import cli
from trainbox_sdk import errors

DAEMON = Path(__file__).parents[2] / "daemon" / "trainbox"
ROUTE = re.compile(r"\b(?:GET|POST|PUT|PATCH|DELETE) /v1/")


def texts():
    """Every text of engine and store that names a route, ids filled in; docstrings left out."""
    for path in sorted([*DAEMON.glob("engine/**/*.py"), *DAEMON.glob("store/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in {"hint", "msg"}:
                said = _text(node.value)
                if ROUTE.search(said):
                    yield pytest.param(said, id=f"{path.stem}-{node.value.lineno}")


def _text(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(
            each.value if isinstance(each, ast.Constant) else "x1" for each in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


FOUND = list(texts())


def test_there_are_some():
    assert len(FOUND) >= 5


@pytest.mark.parametrize("said", FOUND)
def test_no_hint_of_the_daemon_names_a_route_here(said):
    assert not ROUTE.search(with_commands(said)), with_commands(said)


@pytest.mark.parametrize("command", sorted(set(COMMANDS.values())))
def test_the_commands_exist(command):
    found, context = cli, click.Context(cli)
    for word in command.replace("{}", "x1").split()[:2]:
        found = found.get_command(context, word)
        assert found is not None, command


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("list yours with GET /v1/jobs.", "list yours with 'trainbox jobs ls'."),
        ("see GET /v1/jobs/job_1; or", "see 'trainbox jobs show job_1'; or"),
        ("POST /v1/datasets/import takes it", "'trainbox data import' takes it"),
        ("PUT /v1/unheard/of", "PUT /v1/unheard/of"),
    ],
)
def test_routes_become_commands(said, here):
    assert with_commands(said) == here


def test_the_daemons_answer_is_shown_so(run, daemon):
    hint = "list yours with GET /v1/jobs"
    daemon.engine.raises["job"] = errors.ValidationFailed(
        "wrong", errors=[errors.FieldError(("body",), "bad", "see GET /v1/tasks")], hint=hint
    )
    said = run("jobs", "show", "x", code=8).err
    assert "Next: list yours with 'trainbox jobs ls'" in said
    assert "body: bad (see 'trainbox tasks ls')" in said
