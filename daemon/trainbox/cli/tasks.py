"""``trainbox tasks``."""

from __future__ import annotations

import click

from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import print_json, print_table, safe
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.urls import segment


@click.group(cls=Noun)
def command() -> None:
    """Show what can be trained, and its parameters."""


@command.command("ls")
@output_option
@pass_session
def ls(session: Session) -> None:
    """List task types."""
    print_items(
        session,
        session.client.get("/v1/tasks")["items"],
        (
            ("NAME", lambda task: task["name"]),
            ("TITLE", lambda task: task["title"]),
            ("PLUGIN", lambda task: task["plugin"]),
        ),
        key="name",
    )


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
