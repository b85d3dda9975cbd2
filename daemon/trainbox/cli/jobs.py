"""``trainbox jobs``: find jobs and look at them; what steers and follows them lies beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click

from trainbox.cli import pull
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.job_changes import cancel, label, priority, retry, rm
from trainbox.cli.job_reports import compare, explain, print_explanation, print_job, reproduce
from trainbox.cli.job_streams import events, logs, wait
from trainbox.cli.moments import MOMENT
from trainbox.cli.output import Column, output_option, print_items
from trainbox.cli.paging import fetch, page_options
from trainbox.cli.render import human_bytes, human_seconds, print_json
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.submit import submit
from trainbox.cli.urls import segment

STATES = (
    "queued", "preparing", "running", "collecting", "verifying",
    "succeeded", "failed", "cancelled", "interrupted",
)  # fmt: skip
SORTS = ("created", "finished", "priority", "duration")
NAMES_A_DATASET = "ds_"
COLUMNS: Sequence[Column] = (
    ("ID", lambda j: j["id"]),
    ("NAME", lambda j: j["name"]),
    ("TASK", lambda j: j["task"]),
    ("STATE", lambda j: j["state"]),
    ("DONE", lambda j: f"{j['progress']:.0%}"),
    ("CREATED", lambda j: j["created_at"]),
    ("TOOK", lambda j: None if j["duration_s"] is None else human_seconds(j["duration_s"])),
    ("WHY", lambda j: j["reason"]),
)
ARTIFACT_COLUMNS: Sequence[Column] = (
    ("ID", lambda a: a["id"]),
    ("STEP", lambda a: a["step"]),
    ("NAME", lambda a: a["name"]),
    ("KIND", lambda a: a["kind"]),
    ("SIZE", lambda a: human_bytes(a["bytes"])),
    ("DIGEST", lambda a: a["digest"]),
)


@click.group(cls=Noun)
def command() -> None:
    """Train: submit, follow, cancel, retry."""


for verb in (
    submit, wait, logs, events, cancel, retry, explain, compare, reproduce, label, priority, rm,
):  # fmt: skip
    command.add_command(verb)


@command.command("ls")
@click.option("--state", multiple=True, type=click.Choice(STATES), help="May be repeated.")
@click.option("--task", help="Of this task type.")
@click.option("--data", help="On this dataset: id, name (its newest) or name:version.")
@click.option("--name", help="With exactly this name.")
@click.option("-q", "--search", metavar="TEXT", help="With this in the name.")
@click.option("--backend", help="That ran there.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME[=VALUE]", help="All of them; may be repeated."
)
@click.option("--since", type=MOMENT, help="Submitted from then on: 2d (ago), or a date or time.")
@click.option("--until", type=MOMENT, help="Submitted before.")
@click.option("--sort", type=click.Choice(SORTS), default="created", show_default=True)
@click.option("--reverse", is_flag=True, help="Oldest, lowest or shortest first.")
@page_options
@output_option
@pass_session
def ls(session: Session, /, limit: int, everything: bool, **options: Any) -> None:
    """List jobs, newest first."""
    items = fetch(
        session, "/v1/jobs", limit=limit, everything=everything, **_filters(session, options)
    )
    print_items(session, items, COLUMNS)


def _filters(session: Session, options: Mapping[str, Any]) -> dict[str, Any]:
    data = options["data"]
    if data and not data.startswith(NAMES_A_DATASET):
        data = session.client.get(f"/v1/datasets/{segment(data)}")["id"]
    labels = [text.replace("=", ":", 1) for text in options["labels"]]
    return {
        "state": ",".join(options["state"]) or None,
        "task": options["task"],
        "dataset": data,
        "name": options["name"],
        "q": options["search"],
        "backend": options["backend"],
        "label": labels or None,
        "created_after": options["since"],
        "created_before": options["until"],
        "sort": options["sort"],
        "order": "asc" if options["reverse"] else "desc",
    }


@command.command("show")
@click.argument("job")
@pass_session
def show(session: Session, job: str) -> None:
    """Show a job: state and reason, parameters, metrics, attempts, what to do next."""
    path = f"/v1/jobs/{segment(job)}"
    found = session.client.get(path)
    if session.json:
        print_json(found)
        return
    print_job(found)
    if found["state"] in {"queued", "failed", "interrupted"}:
        click.echo()
        print_explanation(session.client.get(f"{path}/explain"))


@command.command("artifacts")
@click.argument("job")
@output_option
@pass_session
def artifacts(session: Session, job: str) -> None:
    """List what a job left behind."""
    items = session.client.get(f"/v1/jobs/{segment(job)}/artifacts")["items"]
    print_items(session, items, ARTIFACT_COLUMNS)


@command.command("pull")
@click.argument("job")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Else its own name, here.",
)  # fmt: skip
@pass_session
def pull_artifact(session: Session, job: str, name: str, output: Path | None) -> None:
    """Download the file NAME (or its id) that a job left behind; its digest is checked."""
    items = session.client.get(f"/v1/jobs/{segment(job)}/artifacts")["items"]
    one = next((each for each in items if name in {each["name"], each["id"]}), None)
    if one is None:
        raise CliError(
            f"The job has left no {name!r} behind.",
            Exit.NOT_FOUND,
            where=[f"{each['name']}  {human_bytes(each['bytes'])}" for each in items],
            next_step=f"Give one of 'trainbox jobs artifacts {job}'.",
        )
    # A name made by others must not choose a folder.
    path = output or Path(PurePosixPath(one["name"]).name)
    url = f"/v1/artifacts/{segment(one['id'])}/content"
    pull.fetch(session, pull.Wanted(url, path, one["digest"], one["bytes"]))
