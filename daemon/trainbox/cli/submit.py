"""``trainbox jobs submit``."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.faults import told
from trainbox.cli.follow import follow_to_end, leave_with
from trainbox.cli.pairs import pairs
from trainbox.cli.render import print_json, talk
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.upload import Upload, upload
from trainbox.cli.urls import segment

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)


@click.command(cls=Verb)
@click.argument("task")
@click.option(
    "--data",
    "--dataset",
    "data",
    metavar="DATASET",
    help="A file to upload, else the id or name of a dataset; a path with a / is always a file.",
)
@click.option("--target", help="Column to predict; short for -p target=COLUMN.")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="JSON or text.")
@click.option(
    "--params-file", type=click.File("rb"), help="JSON object of parameters; -p wins over it."
)
@click.option("--name", default="", help="For people; the model gets it too.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--priority", type=click.IntRange(-100, 100), default=0, help="Higher runs first.")
@click.option("--backend", help="Where to run.")
@click.option("--cpus", type=click.FloatRange(0, min_open=True), help="Cores.")
@click.option("--memory", metavar="SIZE", help="Such as 2GiB.")
@click.option("--gpus", type=click.IntRange(0), help="Devices.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Wall clock, in seconds.")
@click.option(
    "--if-identical", type=click.Choice(["run", "reuse"]), default="run", show_default=True,
    help="reuse: take a job of before that does or did exactly this.",
)  # fmt: skip
@click.option("--key", help="Idempotency key; the same key never makes a second job.")
@click.option("--wait", is_flag=True, help="Follow to the end; Ctrl-C detaches.")
@pass_session
def submit(session: Session, /, **options: Any) -> None:
    """Queue a job of type TASK ('trainbox tasks ls' lists them)."""
    body = _body(session, options)
    # A key of our own makes it safe to send again when an answer is lost on the way.
    job = session.client.post("/v1/jobs", body, key=options["key"] or f"cli-{secrets.token_hex(8)}")
    if session.json and not options["wait"]:
        print_json(job)
        return
    _say_what_it_is(job)
    if not options["wait"]:
        click.echo(job["id"])
        return
    ended = follow_to_end(session, job["id"])
    if not session.json:
        click.echo(ended["model_id"] or ended["id"])
    leave_with(session, ended)


def _say_what_it_is(job: Mapping[str, Any]) -> None:
    """Say whether it is new, and whether the same was done before."""
    same = job["identical_to"]
    if same == job["id"]:
        talk(f"Taking job {same} of before, which is {job['state']}; nothing was queued.")
        return
    if same is not None:
        talk(f"Job {same} does or did exactly this; --if-identical reuse takes it instead.")
    talk(f"Queued as {job['id']}. Follow it: trainbox jobs wait {job['id']}")


def _body(session: Session, options: dict[str, Any]) -> dict[str, Any]:
    params = _params_file(options["params_file"])
    params |= {name: _value(text) for name, text in pairs(options["params"], "-p")}
    if options["target"] is not None:
        params["target"] = options["target"]
    wanted = {
        "cpus": options["cpus"],
        "memory_bytes": parse_size(options["memory"]),
        "gpus": options["gpus"],
        "timeout_s": options["timeout"],
    }
    body: dict[str, Any] = {
        "task": options["task"],
        "dataset_id": dataset_id(session, options["data"]),
        "params": params,
        "priority": options["priority"],
        "name": options["name"],
        "labels": dict(pairs(options["labels"], "--label")),
        "backend": options["backend"],
        "if_identical": options["if_identical"].replace("run", ""),
        "resources": {name: value for name, value in wanted.items() if value is not None},
    }
    return {name: value for name, value in body.items() if value not in (None, {}, "")}


def dataset_id(session: Session, given: str | None) -> str | None:
    """Return the id of a dataset by id or name, or of a file once it is uploaded.

    Raises:
        CliError: no such dataset, or the file cannot be taken.
    """
    if given is None:
        return None
    if "/" in given or Path(given).is_file():
        with told(None):
            made, _ = upload(session, Upload(Path(given)))
        talk(f"Uploaded the file {given} as dataset {made['name']} ({made['id']}).")
        return str(made["id"])
    found = _named(session, given)
    talk(f"Using dataset {found['name']} ({found['id']}).")
    return str(found["id"])


def _named(session: Session, given: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = session.client.get(f"/v1/datasets/{segment(given)}")
    except CliError as error:
        if error.exit_code is Exit.NOT_FOUND and Path(given).suffix:
            raise CliError(
                f"There is no file {given} here, and no dataset of that name.",
                Exit.NOT_FOUND,
                next_step="see the datasets with 'trainbox data ls'",
            ) from None
        raise
    return found


def _params_file(file: Any) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        params = json.load(file)
    except ValueError as error:
        raise CliError(f"{file.name} is not JSON: {error}.", Exit.USAGE) from None
    if not isinstance(params, dict):
        raise CliError(f"{file.name} is not a JSON object.", Exit.USAGE)
    return params


def _value(text: str) -> Any:
    """Return JSON where it is JSON, the text itself elsewhere."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_size(text: str | None) -> int | None:
    """Return bytes from ``512MiB``, ``2G`` or a plain number; units are binary.

    Raises:
        CliError: not a size.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise CliError(f"{text!r} is not a size such as 2GiB.", Exit.USAGE)
    power = "BKMGT".index((match[2] or "B")[0].upper())
    return int(float(match[1]) * 1024**power)
