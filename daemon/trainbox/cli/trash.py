"""``trainbox trash``: what was thrown away, and its bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import click

from trainbox.cli.consent import agree, dry_run_option, yes_option
from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import human_bytes, print_json, safe
from trainbox.cli.session import Noun, Session, pass_session

DAY_S = 86400.0
KINDS = {"dataset": "/v1/datasets", "model": "/v1/models"}


@click.group(cls=Noun)
def command() -> None:
    """What was thrown away: look, and free its bytes."""


@command.command("ls")
@output_option
@pass_session
def ls(session: Session) -> None:
    """List datasets and models that can still be restored ('data restore', 'models restore')."""
    print_items(
        session,
        list(itertools.chain.from_iterable(_thrown_away(session, kind) for kind in KINDS)),
        (
            ("KIND", lambda one: one["kind"]),
            ("ID", lambda one: one["id"]),
            ("NAME", lambda one: f"{one['name']}:{one['version']}"),
            ("SIZE", lambda one: human_bytes(one["bytes"])),
            ("THROWN AWAY", lambda one: one["trashed_at"]),
        ),
    )


@command.command("purge")
@click.option(
    "--older-than", type=click.FloatRange(0), default=0.0, metavar="DAYS", help="In the trash."
)
@dry_run_option
@yes_option
@pass_session
def purge(session: Session, older_than: float, dry_run: bool, yes: bool) -> None:
    """Delete what is in the trash for good; says how many bytes that frees."""
    free(session, older_than * DAY_S, dry_run=dry_run, yes=yes)


def free(session: Session, older_than_s: float, *, dry_run: bool, yes: bool) -> None:
    """Purge the trash after asking, and print what went.

    Raises:
        CliError: nobody agreed.
    """
    path = "/v1/trash/purge"
    wanted = {"older_than_s": older_than_s, "dry_run": True}
    plan: Mapping[str, Any] = session.client.post(path, wanted)
    if not dry_run and (plan["purged"] or plan["files"]):
        agree(session, f"Free {human_bytes(plan['freed_bytes'])} for good?", yes=yes)
        plan = session.client.post(path, {**wanted, "dry_run": False})
    if session.json:
        print_json(plan)
    else:
        _print_purge(plan)


def _thrown_away(session: Session, kind: str) -> Iterator[dict[str, Any]]:
    for one in session.client.pages(KINDS[kind], trashed="true", limit=500):
        if not one.get("purged_at"):
            yield {"kind": kind, **one}


def _print_purge(plan: Mapping[str, Any]) -> None:
    would = "would go" if plan["dry_run"] else "gone"
    for one in plan["purged"]:
        click.echo(f"{would}  {one['kind']} {safe(one['name'])}:{one['version']} {one['id']}")
    for one in plan["kept"]:
        click.echo(
            f"kept  {one['kind']} {safe(one['name'])}:{one['version']} {safe(one['reason'])}"
        )
    click.echo(f"{human_bytes(plan['freed_bytes'])} in {len(plan['files'])} files {would}")
