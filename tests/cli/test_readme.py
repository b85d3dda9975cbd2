"""What README.md prints can be typed: the block of everyday use runs, every other line parses."""

import re
import shlex
from pathlib import Path

import click
import pytest

from trainbox.cli.root import cli
from trainbox_sdk.testing.fake_engine import ONNX_BYTES

ROOT = Path(__file__).parents[2]
CALL = re.compile(r"^\s*(?:\$ )?(?:\.venv/bin/)?trainbox (.+)$", re.MULTILINE)
CUSTOMERS = "age,city,churned\n31,Köln,yes\n,Łódź,no\n52,,yes\n"


def printed(page):
    """Every call of trainbox in a page's shell blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [shlex.split(line, comments=True) for block in blocks for line in CALL.findall(block)]
    return [args[: args.index("&")] if "&" in args else args for args in found]


def parse(args):
    """Walk the commands as click does, without calling the last one."""
    command, context, rest = cli, None, args
    while True:
        context = command.make_context(command.name, list(rest), parent=context)
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]
        _, command, rest = command.resolve_command(context, rest)


def test_everyday_use_runs_as_printed(run, daemon, tmp_path, monkeypatch):
    calls = [args for args in printed("README.md") if args != ["serve"]]
    assert [args[:2] for args in calls] == [
        ["data", "put"],
        ["jobs", "submit"],
        ["models", "predict"],
        ["models", "pull"],
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "customers.csv").write_text(CUSTOMERS, encoding="utf-8")
    (tmp_path / "rows.json").write_text('[{"age": 44, "city": "Köln"}]', encoding="utf-8")
    daemon.engine.autorun = True
    put, submit, predict, pull = [run(*args) for args in calls]
    assert "3 rows" in put.err
    assert submit.out.startswith("mdl_")
    assert '"prediction"' in predict.out
    assert (tmp_path / pull.out.strip()).read_bytes() == ONNX_BYTES


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_every_printed_call_parses(page):
    for args in printed(page):
        parse(args)


def test_a_call_that_does_not_parse_is_found():
    with pytest.raises(click.UsageError):
        parse(["jobs", "submit", "binclass", "--datum", "customers"])
    with pytest.raises(click.UsageError):
        parse(["dance"])
