"""``trainbox data``: upload datasets and look at them; changing ones lie in ``data_changes``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import click

from trainbox.cli import pull
from trainbox.cli.data_changes import describe, restore, rm
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.faults import told
from trainbox.cli.output import Column, output_option, print_items
from trainbox.cli.paging import fetch, page_options
from trainbox.cli.pairs import pairs
from trainbox.cli.profile import print_profile
from trainbox.cli.render import human_bytes, print_facts, print_json, print_table, safe, talk
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.upload import Upload, upload
from trainbox.cli.urls import segment

FORMATS = ("csv", "jsonl", "parquet", "arrow")
SORTS = ("created", "-created", "name", "-name", "rows", "-rows", "bytes", "-bytes")
COLUMNS: Sequence[Column] = (
    ("ID", lambda d: d["id"]),
    ("NAME", lambda d: d["name"]),
    ("VERSION", lambda d: d["version"]),
    ("ROWS", lambda d: d["rows"]),
    ("COLUMNS", lambda d: len(d["columns"])),
    ("SIZE", lambda d: human_bytes(d["bytes"])),
    ("CREATED", lambda d: d["created_at"]),
)


@click.group(cls=Noun)
def command() -> None:
    """Upload and look at datasets; DATASET is an id, a name (its newest) or name:version."""


for changing in (describe, rm, restore):
    command.add_command(changing)


@command.command("put")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--name", default="", help="To call it by; else the file's name without suffixes.")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Else by suffix.")
@click.option("--description", default="", help="For people.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option(
    "--type", "types", multiple=True, metavar="COLUMN=TYPE",
    help="number, boolean, string or datetime; may be repeated.",
)  # fmt: skip
@click.option(
    "--faults", "csv_file", type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE", help="Write what is wrong with refused data there, as CSV.",
)  # fmt: skip
@pass_session
def put(session: Session, /, **options: Any) -> None:
    """Upload FILE (CSV, JSON Lines, Parquet or Arrow, texts also .gz; - reads stdin).

    A file over 16 MiB goes in pieces: after a break the same command goes on where it was.
    """
    wanted = Upload(
        options["file"],
        options["name"],
        options["format_"] or "",
        options["description"],
        dict(pairs(options["types"], "--type")),
        dict(pairs(options["labels"], "--label")),
    )
    with told(options["csv_file"]):
        made, replayed = upload(session, wanted)
    _made(session, made, replayed=replayed)


@command.command("import")
@click.argument("path")
@click.option("--name", default="", help="To call it by; else the file's name.")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Else by suffix.")
@click.option("--description", default="", help="For people.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option(
    "--faults", "csv_file", type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE", help="Write what is wrong with refused data there, as CSV.",
)  # fmt: skip
@pass_session
def import_(session: Session, /, **options: Any) -> None:
    """Make a dataset of PATH on the daemon's machine, under a folder that its settings allow."""
    body = {
        "path": options["path"],
        "name": options["name"],
        "format": options["format_"],
        "description": options["description"],
        "labels": dict(pairs(options["labels"], "--label")),
    }
    from trainbox.cli.client import reading_upload

    with told(options["csv_file"]):
        response = session.client.request(
            "POST",
            "/v1/datasets/import",
            json={name: value for name, value in body.items() if value},
            timeout=reading_upload(),
        )
    replayed = response.headers.get("Dataset-Replayed") == "true"
    _made(session, response.json(), replayed=replayed)


@command.command("ls")
@click.option("--name", help="Versions of this name.")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="That came in this format.")
@click.option("--trashed", is_flag=True, help="Those thrown away.")
@click.option("--sort", type=click.Choice(SORTS), default="-created", show_default=True)
@page_options
@output_option
@pass_session
def ls(session: Session, /, **options: Any) -> None:
    """List datasets, newest first."""
    items = fetch(
        session,
        "/v1/datasets",
        limit=options["limit"],
        everything=options["everything"],
        name=options["name"],
        format=options["format_"],
        trashed="true" if options["trashed"] else None,
        sort=options["sort"],
    )
    print_items(session, items, COLUMNS)


@command.command("show")
@click.argument("dataset")
@pass_session
def show(session: Session, dataset: str) -> None:
    """Show a dataset and what is known of its columns."""
    found = session.client.get(f"/v1/datasets/{segment(dataset)}")
    if session.json:
        print_json(found)
        return
    names = (
        "id", "name", "version", "description", "labels", "rows", "bytes", "digest",
        "source_format", "created_at", "trashed_at", "purged_at",
    )  # fmt: skip
    print_facts({name: found[name] for name in names if found[name]})
    for warning in found["warnings"]:
        click.echo(f"warning  {safe(warning)}")
    click.echo()
    rows = [
        (c["name"], c["type"], c["missing"], c["distinct"], c["min"], c["max"])
        for c in found["columns"]
    ]
    print_table(("COLUMN", "TYPE", "MISSING", "DISTINCT", "MIN", "MAX"), rows)


@command.command("versions")
@click.argument("dataset")
@output_option
@pass_session
def versions(session: Session, dataset: str) -> None:
    """List all versions of a dataset's name, newest first, also those thrown away."""
    items = session.client.get(f"/v1/datasets/{segment(dataset)}/versions")["items"]
    print_items(session, items, (*COLUMNS, ("THROWN AWAY", lambda d: d["trashed_at"])))


@command.command("profile")
@click.argument("dataset")
@click.option("--target", help="Also tell which columns give this one away.")
@pass_session
def profile(session: Session, dataset: str, target: str | None) -> None:
    """Show how a dataset's columns are spread, and what to know of them before training."""
    found = session.client.get(f"/v1/datasets/{segment(dataset)}/profile", target=target)
    if session.json:
        print_json(found)
    else:
        print_profile(found)


@command.command("preview")
@click.argument("dataset")
@click.option("--rows", type=click.IntRange(1, 1000), default=20, show_default=True)
@output_option
@pass_session
def preview(session: Session, dataset: str, rows: int) -> None:
    """Show the first rows of a dataset."""
    if session.output == "id":
        raise CliError("Rows have no id.", Exit.USAGE, next_step="Take -o csv or -o jsonl.")
    found = session.client.get(f"/v1/datasets/{segment(dataset)}/preview", rows=rows)
    items = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    columns = [(name, itemgetter(name)) for name in found["columns"]]
    print_items(session, items, columns)


@command.command("get")
@click.argument("dataset")
@click.option("--format", "format_", type=click.Choice(["parquet", "csv"]), default="parquet")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False),
    metavar="FILE", help="Else named after the dataset; - writes to stdout.",
)  # fmt: skip
@pass_session
def get(session: Session, dataset: str, format_: str, output: Path | None) -> None:
    """Download a dataset as Parquet (its digest is checked) or as CSV.

    In CSV, texts that a spreadsheet would compute have a quote before them.
    """
    found = session.client.get(f"/v1/datasets/{segment(dataset)}")
    # A name made by others must not choose a folder.
    plain = f"{found['name']}-v{found['version']}.{format_}".replace("/", "_").lstrip(".")
    path = output or Path(plain)
    if str(path) == "-":
        _stream(session, found, format_, sys.stdout.buffer)
    elif format_ == "parquet":
        url = f"/v1/datasets/{segment(found['id'])}/content"
        pull.fetch(session, pull.Wanted(url, path, found["digest"], found["bytes"]))
    else:
        with _whole_or_not(path) as file:
            count = _stream(session, found, format_, file)
        if session.json:
            print_json({"path": str(path), "bytes": count})
        else:
            click.echo(str(path))


def _stream(session: Session, dataset: Mapping[str, Any], format_: str, file: IO[bytes]) -> int:
    count = 0
    path = f"/v1/datasets/{segment(dataset['id'])}/content"
    with session.client.stream(path, format=format_) as response:
        for chunk in response.iter_bytes():
            count += len(chunk)
            file.write(chunk)
    return count


@contextmanager
def _whole_or_not(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears only once it is whole.

    Raises:
        CliError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        where = [f"{path}: {error.strerror}"]
        raise CliError("The file cannot be written.", Exit.USAGE, where=where) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _made(session: Session, made: Mapping[str, Any], *, replayed: bool) -> None:
    if session.json:
        print_json(made)
        return
    if replayed:
        talk(f"{made['name']}:{made['version']} has these bytes already; none was made.")
    talk(f"{made['rows']} rows, {len(made['columns'])} columns, {human_bytes(made['bytes'])}")
    for warning in made["warnings"]:
        talk(f"Warning: {warning}")
    click.echo(made["id"])
