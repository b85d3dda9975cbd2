"""``trainbox models``."""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from pathlib import Path
from typing import Any

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.render import (
    human_bytes,
    print_facts,
    print_json,
    print_json_line,
    print_table,
    talk,
)
from trainbox.cli.rows import read_rows
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.urls import segment

BATCH = 1000
"""Rows per predict request: bounded memory on both sides."""


@click.group(cls=Noun)
def command() -> None:
    """Use trained models; MODEL is an id, a name, name:version or name@alias."""


@command.command("ls")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@pass_session
def ls(session: Session, limit: int) -> None:
    """List model versions, newest first."""
    items = session.client.get("/v1/models", limit=limit)["items"]
    if session.json:
        print_json(items)
        return
    rows = [
        (
            m["id"],
            m["name"],
            m["version"],
            m["task"],
            ",".join(m["aliases"]),
            human_bytes(m["bytes"]),
        )
        for m in items
    ]
    print_table(("ID", "NAME", "VERSION", "TASK", "ALIASES", "SIZE"), rows)


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
    print_facts({name: found[name] for name in names} | {"aliases": ", ".join(found["aliases"])})
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


@command.command("pull")
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File.")
@pass_session
def pull(session: Session, model: str, output: Path | None) -> None:
    """Download the ONNX file; its digest is checked."""
    found = session.client.get(f"/v1/models/{segment(model)}")
    # A name made by others must not choose a folder.
    plain = f"{found['name']}-v{found['version']}.onnx".replace("/", "_").lstrip(".")
    path = output or Path(plain)
    download(session, found, path)
    if session.json:
        print_json({"path": str(path), "digest": found["digest"], "bytes": found["bytes"]})
    else:
        talk(f"{human_bytes(found['bytes'])}, {found['digest']}")
        click.echo(str(path))


@command.command("predict")
@click.argument("model")
@click.option(
    "--rows", "file", type=click.Path(path_type=Path, allow_dash=True), help="CSV, JSON, JSONL."
)
@click.option("--row", "pairs", multiple=True, metavar="NAME=VALUE", help="One row, by columns.")
@pass_session
def predict(session: Session, model: str, file: Path | None, pairs: tuple[str, ...]) -> None:
    """Predict rows; answers are JSON Lines, one a row, in order."""
    if (file is None) == (not pairs):
        raise CliError("Give either --rows FILE or --row NAME=VALUE.", Exit.USAGE)
    found = session.client.get(f"/v1/models/{segment(model)}")
    rows = read_rows(file, pairs, found["signature"]["inputs"])
    answers: list[dict[str, Any]] = []
    warnings: dict[str, None] = {}
    while batch := list(islice(rows, BATCH)):
        answer = session.client.post(f"/v1/models/{found['id']}/predict", {"rows": batch})
        warnings |= dict.fromkeys(answer["warnings"])
        if session.json:
            answers += answer["rows"]
        else:
            for row in answer["rows"]:
                print_json_line(row)
    if session.json:
        print_json({"model_id": found["id"], "rows": answers, "warnings": list(warnings)})
    for warning in warnings:
        talk(f"Warning: {warning}")


@command.command("alias")
@click.argument("model")
@click.argument("alias")
@pass_session
def alias(session: Session, model: str, alias: str) -> None:
    """Point ALIAS of the model's name at this version."""
    found = session.client.get(f"/v1/models/{segment(model)}")
    path = f"/v1/models/{segment(found['name'])}/aliases/{segment(alias)}"
    changed = session.client.put(path, {"version": found["version"]})
    if session.json:
        print_json(changed)
    else:
        talk(f"{changed['name']}@{alias} is version {changed['version']}.")


def download(session: Session, model: dict[str, Any], path: Path) -> None:
    """Write a model's ONNX file whole or not at all.

    Raises:
        CliError: it cannot be written, or what came is not what the digest says.
    """
    part = path.with_name(f".{path.name}.part")
    digest = hashlib.sha256()
    try:
        with (
            session.client.stream(f"/v1/models/{model['id']}/onnx") as response,
            part.open("wb") as file,
        ):
            for chunk in response.iter_bytes():
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if f"sha256:{digest.hexdigest()}" != model["digest"]:
            raise CliError(
                "What came is not what the digest says.", Exit.INTERNAL, where=[model["digest"]]
            )
        part.replace(path)
    except OSError as error:
        where = [f"{path}: {error.strerror}"]
        raise CliError("The file cannot be written.", Exit.USAGE, where=where) from None
    finally:
        part.unlink(missing_ok=True)
