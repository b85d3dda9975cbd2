"""``trainbox run``: a training script of one's own, from its files to its model, in one command."""

from __future__ import annotations

import codecs
import contextlib
import secrets
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click

from trainbox.cli import pull
from trainbox.cli.assets import upload
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.follow import follow_to_end, leave_with
from trainbox.cli.pairs import pairs
from trainbox.cli.render import human_bytes, print_json, safe, talk
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.submit import dataset_id, parse_size
from trainbox.cli.urls import segment

TASK = "custom_script"
RUNTIMES = ("python3.10", "python3.11", "python3.12")
_PERHAPS_QUEUED = frozenset({Exit.UNREACHABLE, Exit.INTERNAL, Exit.INTERRUPTED, Exit.TIMEOUT})
"""Exit codes when the daemon's answer was lost: the job may be there, and need its files."""
LOG_END_S = 10.0
"""Longest wait for the last of a log whose job has ended."""
_FILE = click.Path(path_type=Path)


@click.command("run", cls=Verb)
@click.argument("script", type=_FILE)
@click.argument("arguments", nargs=-1)
@click.option("--runtime", type=click.Choice(RUNTIMES), default="python3.11", show_default=True)
@click.option(
    "--data", "--dataset", "data", metavar="DATASET",
    help="A file to upload, else the id or name of a dataset; a path with a / is always a file.",
)  # fmt: skip
@click.option(
    "--data-format", type=click.Choice(["parquet", "csv", "jsonl"]), default="parquet",
    show_default=True, help="What the script finds at DATASET_PATH.",
)  # fmt: skip
@click.option("--requirements", type=_FILE, multiple=True, help="Installed before it runs.")
@click.option("--with", "files", type=_FILE, multiple=True, help="Laid beside it; may be repeated.")
@click.option("--weights", type=_FILE, multiple=True, help="Likewise, to start from.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--name", default="", help="For people; the model gets it too.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--backend", help="Where to run.")
@click.option("--cpus", type=click.FloatRange(0, min_open=True), help="Cores.")
@click.option("--memory", metavar="SIZE", help="Such as 2GiB.")
@click.option("--gpus", type=click.IntRange(0), help="Devices.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Wall clock, in seconds.")
@click.option("--detach", is_flag=True, help="Queue it and leave; print the job's id.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Where its model goes; else a folder named like the job.",
)  # fmt: skip
@pass_session
def command(session: Session, /, **options: Any) -> None:
    """Run SCRIPT in a sandbox: upload, queue, follow, fetch what it left.

    ARGUMENTS after -- are the script's own: trainbox run train.py -- --epochs 3
    """
    job = _queue(session, options)
    talk(f"Queued as {job['id']}. Follow it again: trainbox jobs wait {job['id']}")
    if options["detach"]:
        print_json(job) if session.json else click.echo(job["id"])
        return
    with _printing(session, job["id"]):
        ended = follow_to_end(session, job["id"])
    leave_with(session, ended)
    _fetch(session, ended, options["output"])


def _queue(session: Session, options: dict[str, Any]) -> dict[str, Any]:
    """Queue the job; what can be seen to be wrong here is, before anything is sent."""
    body = _body(options)
    given = _kinds(options)
    # First: a name that is wrong costs nothing, and a table is more often wrong than a script.
    body["dataset_id"] = dataset_id(session, options["data"])
    uses: list[dict[str, str]] = []
    try:
        _upload(session, given, uses)
        body["params"]["assets"] = uses
        wanted = {name: value for name, value in body.items() if value not in (None, {}, "")}
        job: dict[str, Any] = session.client.post(
            "/v1/jobs", wanted, key=f"cli-{secrets.token_hex(8)}"
        )
    except CliError as refused:
        if Exit(refused.exit_code) not in _PERHAPS_QUEUED:
            _take_back(session, uses)
        raise
    return job


def _body(options: dict[str, Any]) -> dict[str, Any]:
    wanted = {
        "cpus": options["cpus"],
        "memory_bytes": parse_size(options["memory"]),
        "gpus": options["gpus"],
        "timeout_s": options["timeout"],
    }
    return {
        "task": TASK,
        "params": {
            "entry_point": options["script"].name,
            "runtime": options["runtime"],
            "environment_vars": dict(pairs(options["variables"], "--env")),
            "arguments": list(options["arguments"]),
            "dataset_format": options["data_format"],
        },
        "name": options["name"],
        "labels": dict(pairs(options["labels"], "--label")),
        "backend": options["backend"],
        "resources": {name: value for name, value in wanted.items() if value is not None},
    }


def _kinds(options: dict[str, Any]) -> list[tuple[str, Path]]:
    """Return each file with its kind; one that is missing is found before any is sent.

    Raises:
        CliError: no such file, or two of one name.
    """
    given = [
        ("script", options["script"]),
        *(("requirements", file) for file in options["requirements"]),
        *(("weights", file) for file in options["weights"]),
        *(("other", file) for file in options["files"]),
    ]
    missing = next((file for _, file in given if not file.is_file()), None)
    if missing is not None:
        problem = f"{missing} is no file." if missing.exists() else f"There is no file {missing}."
        raise CliError(problem, Exit.USAGE)
    empty = next((file for _, file in given if file.stat().st_size == 0), None)
    if empty is not None:
        raise CliError(
            f"{empty} is empty, and files of a script have one byte at least.",
            Exit.USAGE,
            next_step="Leave it out, or write a comment into it.",
        )
    names = [file.name for _, file in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CliError(
            f"Several files are named {twice}, and all lie in one folder.",
            Exit.USAGE,
            next_step="Rename one, or leave it out.",
        )
    return given


def _upload(
    session: Session, given: Sequence[tuple[str, Path]], uses: list[dict[str, str]]
) -> None:
    """Send files one by one; ``uses`` grows by each that is there."""
    for kind, file in given:
        made = upload(session, file, kind)
        talk(f"Uploaded {file} ({kind}, {human_bytes(made['bytes'])}).")
        uses.append({"asset": made["id"], "name": made["filename"], "kind": kind})


def _take_back(session: Session, uses: Sequence[dict[str, str]]) -> None:
    """Delete files that were uploaded for a job which was refused."""
    for use in uses:
        with contextlib.suppress(CliError):  # what the job was refused for is what matters
            session.client.delete(f"/v1/assets/{segment(use['asset'])}")


@contextlib.contextmanager
def _printing(session: Session, job_id: str) -> Iterator[None]:
    """Print what the job prints, on stderr, while the body follows it."""
    if session.json:
        yield
        return
    client = session.client

    def follow() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        line = ""
        # The follower of events says what is wrong with the connection, and once is enough.
        with contextlib.suppress(CliError):
            for chunk in client.log(job_id, follow=True):
                *whole, line = (line + decoder.decode(chunk)).split("\n")
                for each in whole:
                    click.echo(safe(each), err=True)
        if line:
            click.echo(safe(line), err=True)

    printer = threading.Thread(target=follow, daemon=True)
    printer.start()
    yield
    printer.join(LOG_END_S)


def _fetch(session: Session, job: dict[str, Any], output: Path | None) -> None:
    """Bring what the job left; print the folder."""
    files = session.client.get(f"/v1/jobs/{segment(job['id'])}/artifacts")["items"]
    folder = output or Path(job["id"])
    wanted = [
        pull.Wanted(
            f"/v1/artifacts/{segment(one['id'])}/content",
            pull.inside(folder, PurePosixPath(one["name"])),
            one["digest"],
            one["bytes"],
        )
        for one in files
        if not _whole_of(one["name"], files)
    ]
    pull.fetch_all(session, wanted)
    if session.json:
        print_json({"job": job, "files": [str(one.path) for one in wanted]})
        return
    if not wanted:
        talk("The script left no model: it writes one to the path in MODEL_OUTPUT_PATH.")
        return
    talk(f"{len(wanted)} files, {human_bytes(sum(one.bytes for one in wanted))}.")
    click.echo(str(folder))


def _whole_of(name: str, files: Sequence[dict[str, Any]]) -> bool:
    """Tell whether this is the tar of a directory whose files are all there, too."""
    stem = name.removesuffix(".tar")
    return stem != name and any(one["name"].startswith(f"{stem}/") for one in files)
