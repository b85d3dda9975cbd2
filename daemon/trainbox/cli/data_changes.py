"""``trainbox data describe|rm|restore``."""

from __future__ import annotations

import click

from trainbox.cli.consent import dry_run_option
from trainbox.cli.labels import changed_labels
from trainbox.cli.render import human_bytes, print_json, talk
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.urls import segment


@click.command("describe", cls=Verb)
@click.argument("dataset")
@click.argument("labels", nargs=-1, metavar="[NAME=VALUE | NAME-]...")
@click.option("--description", help="For people; replaces the one there is.")
@pass_session
def describe(
    session: Session, dataset: str, labels: tuple[str, ...], description: str | None
) -> None:
    """Change the description or labels of DATASET; NAME- takes a label away."""
    path = f"/v1/datasets/{segment(dataset)}"
    body: dict[str, object] = {}
    if description is not None:
        body["description"] = description
    if labels:
        body["labels"] = changed_labels(session.client.get(path)["labels"], labels)
    changed = session.client.patch(path, body) if body else session.client.get(path)
    if session.json:
        print_json(changed)
    else:
        said = ", ".join(f"{name}={value}" for name, value in changed["labels"].items())
        talk(f"{changed['name']}:{changed['version']}: {said or 'no labels'}")


@click.command("rm", cls=Verb)
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@dry_run_option
@pass_session
def rm(session: Session, datasets: tuple[str, ...], dry_run: bool) -> None:
    """Throw datasets away; each can be restored until the trash is purged."""
    gone = []
    for dataset in datasets:
        path = f"/v1/datasets/{segment(dataset)}"
        found = session.client.get(path) if dry_run else session.client.delete(path)
        gone.append(found)
        name = f"{found['name']}:{found['version']}"
        if dry_run:
            talk(f"Would throw away {name} ({found['id']}, {human_bytes(found['bytes'])}).")
        else:
            talk(f"Threw {name} away. Take it back: trainbox data restore {found['id']}")
    if session.json:
        print_json(gone)


@click.command("restore", cls=Verb)
@click.argument("dataset")
@pass_session
def restore(session: Session, dataset: str) -> None:
    """Take DATASET out of the trash; 'trash ls' has the ids."""
    back = session.client.post(f"/v1/datasets/{segment(dataset)}/restore")
    if session.json:
        print_json(back)
    else:
        talk(f"{back['name']}:{back['version']} is back.")
        click.echo(back["id"])
