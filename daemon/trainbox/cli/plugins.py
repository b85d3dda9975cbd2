"""``trainbox plugins``."""

from __future__ import annotations

from pathlib import Path

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import print_json, talk
from trainbox.cli.session import Noun, Session, load_settings, pass_session

OFF = "# off: "


@click.group(cls=Noun)
def command() -> None:
    """Show what the daemon has loaded, and what it has not."""


@command.command("ls")
@output_option
@pass_session
def ls(session: Session) -> None:
    """List plugins: loaded, quarantined, not listed, missing; and how each does now."""
    print_items(
        session,
        session.client.get("/v1/plugins")["items"],
        (
            ("NAME", lambda one: one["name"]),
            ("STATUS", lambda one: one["status"]),
            ("HEALTH", lambda one: one["health"]),
            ("FROM", lambda one: f"{one['distribution']} {one['version']}".strip()),
            ("REQUIRED", lambda one: one["required"]),
            ("PROVIDES", lambda one: ", ".join(one["provides"]) or one["error"]),
        ),
        key="name",
    )


@command.command("disable")
@click.argument("name")
@pass_session
def disable(session: Session, name: str) -> None:
    """Take NAME out of plugins.toml, as comments; the next start of the daemon leaves it out."""
    _rewrite(session, name, off=True)


@command.command("enable")
@click.argument("name")
@pass_session
def enable(session: Session, name: str) -> None:
    """Bring back what 'disable' took out of plugins.toml."""
    _rewrite(session, name, off=False)


def _rewrite(session: Session, name: str, *, off: bool) -> None:
    from trainbox.durable import write_durably

    path: Path = load_settings().plugins_file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CliError(f"Cannot read {path}.", Exit.USAGE, where=[f"{error.strerror}"]) from None
    mark = OFF if off else ""
    plain = [line.removeprefix(OFF) for line in lines]
    block = _block(plain, name)
    if not block or all(lines[at].startswith(OFF) is off for at in block):
        raise CliError(
            f"{path} does not list a plugin {name!r} to {'disable' if off else 'enable'}.",
            Exit.NOT_FOUND,
            next_step="Read the names: trainbox plugins ls",
        )
    kept = [mark + plain[at] if at in block else line for at, line in enumerate(lines)]
    mode = path.stat().st_mode
    write_durably(path, "\n".join(kept) + "\n")
    path.chmod(mode)
    if session.json:
        print_json({"plugin": name, "enabled": not off, "file": str(path)})
    else:
        talk(f"{path}: {name} is {'off' if off else 'on'} from the daemon's next start on.")


def _block(lines: list[str], name: str) -> range:
    """Return the lines of one ``[[plugin]]`` table, its sub-tables included; empty if absent."""
    starts = [at for at, line in enumerate(lines) if line.strip() == "[[plugin]]"]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        table = lines[start:end]
        while table and (not table[-1].strip() or table[-1].startswith("#")):
            table.pop()  # what stands before the next table belongs to that one
        if any(line.replace(" ", "").startswith(f'name="{name}"') for line in table):
            return range(start, start + len(table))
    return range(0)
