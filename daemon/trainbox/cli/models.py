"""``trainbox models``."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from trainbox.cli import model_aliases, predict, pull
from trainbox.cli.consent import dry_run_option
from trainbox.cli.output import Column, output_option, print_items
from trainbox.cli.pull import download
from trainbox.cli.render import human_bytes, print_facts, print_json, print_table, safe, talk
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.urls import segment

__all__ = ["command", "download"]

PAGE = 500
COLUMNS: tuple[Column, ...] = (
    ("ID", lambda m: m["id"]),
    ("NAME", lambda m: m["name"]),
    ("VERSION", lambda m: m["version"]),
    ("TASK", lambda m: m["task"]),
    ("ALIASES", lambda m: ",".join(m["aliases"])),
    ("SIZE", lambda m: human_bytes(m["bytes"])),
    ("CREATED", lambda m: m["created_at"]),
)
FILE_COLUMNS: tuple[Column, ...] = (
    ("NAME", lambda file: file["path"]),
    ("SIZE", lambda file: human_bytes(file["bytes"])),
    ("DIGEST", lambda file: file["digest"]),
)


@click.group(cls=Noun)
def command() -> None:
    """Use trained models; MODEL is an id, a name, name:version or name@alias."""


@command.command("ls")
@click.option("--name", help="Of this name.")
@click.option("--task", help="Of this task type.")
@click.option("--alias", help="That this alias points at.")
@click.option("--trashed", is_flag=True, help="Those in the trash.")
@click.option(
    "--sort",
    type=click.Choice(("-created_at", "created_at", "name", "-name")),
    default="-created_at",
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--all", "everything", is_flag=True, help="No limit.")
@output_option
@pass_session
def ls(session: Session, /, limit: int, everything: bool, **filters: Any) -> None:
    """List model versions, newest first."""
    filters["trashed"] = "true" if filters["trashed"] else None
    filters["limit"] = PAGE if everything else min(limit, PAGE)
    found = session.client.pages("/v1/models", **filters)
    print_items(session, list(islice(found, None if everything else limit)), COLUMNS)


@command.command("show")
@click.argument("model")
@pass_session
def show(session: Session, model: str) -> None:
    """Show a model: inputs, outputs, metrics, parity."""
    found = session.client.get(f"/v1/models/{segment(model)}")
    if session.json:
        print_json(found)
        return
    names = ("id", "name", "version", "task", "aliases", "job_id", "dataset_id", "digest", "bytes")
    facts = {name: found[name] for name in names} | {"aliases": ", ".join(found["aliases"])}
    if found["trashed_at"]:
        facts["trashed_at"] = found["trashed_at"]
    print_facts(facts)
    for title in ("metrics", "parity"):
        click.echo(f"\n{title}")
        print_facts({f"  {name}": value for name, value in found[title].items()})
    click.echo()
    rows = [
        (side, each.get("name"), each.get("type"))
        for side in ("inputs", "outputs")
        for each in found["signature"].get(side, ())
    ]
    print_table(("", "NAME", "TYPE"), rows)


@command.command("versions")
@click.argument("name")
@output_option
@pass_session
def versions(session: Session, name: str) -> None:
    """List the versions of NAME, newest first."""
    path = f"/v1/models/{segment(name)}/versions"
    print_items(session, list(session.client.pages(path, limit=PAGE)), COLUMNS)


@command.command("files")
@click.argument("model")
@output_option
@pass_session
def files(session: Session, model: str) -> None:
    """List the files of a model's directory; 'models pull' fetches them."""
    found = session.client.get(f"/v1/models/{segment(model)}")
    print_items(session, pull.listed(session, found), FILE_COLUMNS, key="path")


@command.command("card")
@click.argument("model")
@pass_session
def card(session: Session, model: str) -> None:
    """Print the model card: data, metrics, parameters, limits."""
    with session.client.stream(f"/v1/models/{segment(model)}/files/card.md") as response:
        text = response.read().decode()
    if session.json:
        print_json({"model": model, "card": text})
    else:
        click.echo(safe(text), nl=not text.endswith("\n"))


@command.command("rm")
@click.argument("model")
@dry_run_option
@pass_session
def rm(session: Session, model: str, dry_run: bool) -> None:
    """Throw a version away; until the trash is purged 'models restore' brings it back."""
    found = session.client.get(f"/v1/models/{segment(model)}")
    if dry_run:
        said = f"{found['id']} ({found['name']}:{found['version']}) would go into the trash."
    else:
        found = session.client.delete(f"/v1/models/{found['id']}")
        name = f"{found['name']}:{found['version']}"
        said = f"{name} is in the trash. Back: trainbox models restore {found['id']}"
    if session.json:
        print_json({**({"dry_run": True} if dry_run else {}), **found})
    elif dry_run:
        click.echo(safe(said))
    else:
        talk(said)
        click.echo(found["id"])


@command.command("restore")
@click.argument("model_id", metavar="ID")
@pass_session
def restore(session: Session, model_id: str) -> None:
    """Bring a version back from the trash, by its id ('models ls --trashed')."""
    found = session.client.post(f"/v1/models/{segment(model_id)}/restore")
    if session.json:
        print_json(found)
    else:
        talk(f"{found['name']}:{found['version']} is back.")
        click.echo(found["id"])


for _verb in (
    pull.command,
    predict.command,
    model_aliases.promote,
    model_aliases.rollback,
    model_aliases.alias,
    model_aliases.unalias,
    model_aliases.aliases,
    model_aliases.history,
):
    command.add_command(_verb)
