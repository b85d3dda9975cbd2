"""``trainbox data``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.render import human_bytes, live, print_facts, print_json, print_table, talk
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.urls import segment

CHUNK = 256 * 1024
SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}


@click.group(cls=Noun)
def command() -> None:
    """Upload and look at datasets."""


@command.command("put")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--name", help="To call it by; else the file's name without its suffix.")
@click.option("--format", "format_", type=click.Choice(["csv", "parquet"]), help="Else by suffix.")
@pass_session
def put(session: Session, file: Path, name: str | None, format_: str | None) -> None:
    """Upload FILE (CSV or Parquet; - reads stdin)."""
    made = upload(session, file, name, format_)
    if session.json:
        print_json(made)
    else:
        talk(f"{made['rows']} rows, {len(made['columns'])} columns, {human_bytes(made['bytes'])}")
        click.echo(made["id"])


@command.command("ls")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@pass_session
def ls(session: Session, limit: int) -> None:
    """List datasets, newest first."""
    items = session.client.get("/v1/datasets", limit=limit)["items"]
    if session.json:
        print_json(items)
        return
    rows = [
        (d["id"], d["name"], d["rows"], len(d["columns"]), human_bytes(d["bytes"]), d["created_at"])
        for d in items
    ]
    print_table(("ID", "NAME", "ROWS", "COLUMNS", "SIZE", "CREATED"), rows)


@command.command("show")
@click.argument("dataset")
@pass_session
def show(session: Session, dataset: str) -> None:
    """Show a dataset and what is known of its columns; DATASET is an id or a name."""
    found = session.client.get(f"/v1/datasets/{segment(dataset)}")
    if session.json:
        print_json(found)
        return
    names = ("id", "name", "rows", "bytes", "digest", "source_format", "created_at")
    print_facts({name: found[name] for name in names})
    click.echo()
    rows = [
        (c["name"], c["type"], c["missing"], c["distinct"], c["min"], c["max"])
        for c in found["columns"]
    ]
    print_table(("COLUMN", "TYPE", "MISSING", "DISTINCT", "MIN", "MAX"), rows)


def upload(
    session: Session, file: Path, name: str | None = None, format_: str | None = None
) -> dict[str, Any]:
    """Upload a file and return the dataset.

    Raises:
        CliError: the file cannot be read, or nothing says what it is.
    """
    found = format_ or SUFFIXES.get(file.suffix.lower())
    if found is None:
        raise CliError(
            f"Nothing says whether {file} is CSV or Parquet.",
            Exit.USAGE,
            next_step="Add --format csv or --format parquet.",
        )
    stdin = str(file) == "-"
    try:
        with contextlib.ExitStack() as stack:
            source = sys.stdin.buffer if stdin else stack.enter_context(file.open("rb"))
            size = None if stdin else os.fstat(source.fileno()).st_size
            chunks = stack.enter_context(_shown(_chunks(source), size))
            return session.client.upload(
                name or ("stdin" if stdin else file.stem), found, chunks, size
            )
    except OSError as error:
        where = [f"{file}: {error.strerror}"]
        raise CliError("The file cannot be read.", Exit.USAGE, where=where) from None


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


@contextlib.contextmanager
def _shown(chunks: Iterator[bytes], size: int | None) -> Iterator[Iterator[bytes]]:
    """Show a bar on a terminal for what takes longer than a blink."""
    if not live() or (size is not None and size < 8 * 1024**2):
        yield chunks
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("uploading", total=size)

        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                progress.advance(line, len(chunk))
                yield chunk

        yield counted()
