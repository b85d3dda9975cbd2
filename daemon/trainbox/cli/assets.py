"""``trainbox assets``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import click

from trainbox.cli import pull
from trainbox.cli.consent import agree, dry_run_option, yes_option
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.output import Column, output_option, print_items
from trainbox.cli.render import human_bytes, print_facts, print_json, talk
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.transfer_bar import CHUNK, Bar, bar
from trainbox.cli.urls import segment

KINDS = ("script", "weights", "requirements", "config", "other")
PAGE = 500
COLUMNS: tuple[Column, ...] = (
    ("ID", lambda asset: asset["id"]),
    ("FILENAME", lambda asset: asset["filename"]),
    ("KIND", lambda asset: asset["kind"]),
    ("SIZE", lambda asset: human_bytes(asset["bytes"])),
    ("CREATED", lambda asset: asset["created_at"]),
)


@click.group(cls=Noun)
def command() -> None:
    """Files that custom scripts find beside them; 'trainbox run' uploads what it needs itself."""


@command.command("upload")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(KINDS), default="other", show_default=True)
@click.option("--filename", metavar="NAME", help="Beside the script; else the file's own name.")
@click.option("--description", default="", help="For people.")
@pass_session
def upload_command(
    session: Session, file: Path, kind: str, filename: str | None, description: str
) -> None:
    """Store FILE; its bytes never change."""
    made = upload(session, file, kind, filename=filename or file.name, description=description)
    if session.json:
        print_json(made)
    else:
        talk(f"Stored {made['filename']} as {made['kind']}, {human_bytes(made['bytes'])}.")
        click.echo(made["id"])


@command.command("ls")
@click.option("--kind", type=click.Choice(KINDS), help="Of this kind.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--all", "everything", is_flag=True, help="No limit.")
@output_option
@pass_session
def ls(session: Session, kind: str | None, limit: int, everything: bool) -> None:
    """List files, newest first."""
    found = session.client.pages(
        "/v1/assets", kind=kind, limit=PAGE if everything else min(limit, PAGE)
    )
    print_items(session, list(islice(found, None if everything else limit)), COLUMNS)


@command.command("show")
@click.argument("asset")
@pass_session
def show(session: Session, asset: str) -> None:
    """Show what is known of a file."""
    found = session.client.get(f"/v1/assets/{segment(asset)}")
    if session.json:
        print_json(found)
    else:
        print_facts(found)


@command.command("pull")
@click.argument("asset")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Else its own name, here.",
)  # fmt: skip
@pass_session
def pull_asset(session: Session, asset: str, output: Path | None) -> None:
    """Download a file; its digest is checked."""
    found = session.client.get(f"/v1/assets/{segment(asset)}")
    # A name made by others must not choose a folder.
    path = output or Path(Path(found["filename"]).name)
    url = f"/v1/assets/{found['id']}/content"
    pull.fetch(session, pull.Wanted(url, path, found["digest"], found["bytes"]))


@command.command("rm")
@click.argument("assets", nargs=-1, required=True)
@dry_run_option
@yes_option
@pass_session
def rm(session: Session, assets: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Delete files for good; jobs that were submitted with them keep their bytes."""
    found = [session.client.get(f"/v1/assets/{segment(asset)}") for asset in assets]
    names = ", ".join(one["filename"] for one in found)
    if not dry_run:
        agree(session, f"Delete {names} for good?", yes=yes)
        for one in found:
            session.client.delete(f"/v1/assets/{one['id']}")
    if session.json:
        print_json(found)
    else:
        talk(f"{'Would delete' if dry_run else 'Deleted'} {names}.")


def upload(
    session: Session, file: Path, kind: str, *, filename: str = "", description: str = ""
) -> dict[str, Any]:
    """Send one file, streamed; returns the asset.

    Raises:
        CliError: it cannot be read, or the daemon refused it.
    """
    from trainbox.cli.client import reading_upload

    said = {"filename": filename or file.name, "kind": kind, "description": description}
    try:
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            with bar(size) as show:
                response = session.client.request(
                    "POST",
                    "/v1/assets",
                    params={name: value for name, value in said.items() if value},
                    content=_chunks(source, show),
                    headers={
                        "Content-Type": "application/octet-stream",
                        "Content-Length": str(size),
                    },
                    timeout=reading_upload(),
                )
    except OSError as error:
        where = [f"{file}: {error.strerror}"]
        raise CliError("The file cannot be read.", Exit.USAGE, where=where) from None
    made: dict[str, Any] = response.json()
    return made


def _chunks(source: IO[bytes], show: Bar) -> Iterator[bytes]:
    sent = 0
    while chunk := source.read(CHUNK):
        yield chunk
        sent += len(chunk)
        show.at(sent)
