"""``trainbox plugins``."""

from __future__ import annotations

import click

from trainbox.cli.render import print_json, print_table
from trainbox.cli.session import Noun, Session, pass_session


@click.group(cls=Noun)
def command() -> None:
    """Show what the daemon has loaded, and what it has not."""


@command.command("ls")
@pass_session
def ls(session: Session) -> None:
    """List plugins: loaded, quarantined, not listed, missing."""
    items = session.client.get("/v1/plugins")["items"]
    if session.json:
        print_json(items)
        return
    rows = [
        (
            plugin["name"],
            plugin["status"],
            f"{plugin['distribution']} {plugin['version']}".strip(),
            plugin["required"],
            ", ".join(plugin["provides"]) or plugin["error"],
        )
        for plugin in items
    ]
    print_table(("NAME", "STATUS", "FROM", "REQUIRED", "PROVIDES"), rows)
