"""``trainbox tasks``."""

from __future__ import annotations

import click

from trainbox.cli.render import print_json, print_table, safe
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.urls import segment


@click.group(cls=Noun)
def command() -> None:
    """Show what can be trained, and its parameters."""


@command.command("ls")
@pass_session
def ls(session: Session) -> None:
    """List task types."""
    items = session.client.get("/v1/tasks")["items"]
    if session.json:
        print_json(items)
    else:
        rows = [(t["name"], t["title"], t["plugin"]) for t in items]
        print_table(("NAME", "TITLE", "PLUGIN"), rows)


@command.command("show")
@click.argument("task")
@pass_session
def show(session: Session, task: str) -> None:
    """Show a task type's parameters."""
    found = session.client.get(f"/v1/tasks/{segment(task)}")
    if session.json:
        print_json(found)
        return
    click.echo(safe(f"{found['name']}: {found['title']}\n{found['description']}\n"))
    schema = found["params_schema"]
    required = set(schema.get("required", ()))
    rows = [
        (
            name,
            "required" if name in required else one.get("default"),
            _kind(one),
            one.get("description", ""),
        )
        for name, one in schema.get("properties", {}).items()
    ]
    print_table(("PARAMETER", "DEFAULT", "TYPE", "MEANING"), rows)


def _kind(schema: dict[str, object]) -> object:
    if "enum" in schema:
        return schema["enum"]
    low, high = schema.get("minimum"), schema.get("maximum")
    kind = schema.get("type", "see --json")
    return kind if low is None and high is None else f"{kind} {low}..{high}"
