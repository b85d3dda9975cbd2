"""``trainbox jobs``: look at jobs and steer them; ``submit`` lies in its own module."""

from __future__ import annotations

import sys
from typing import Any

import click

from trainbox.cli.exits import STATE_EXITS, Exit
from trainbox.cli.follow import describe, follow_to_end, leave_with
from trainbox.cli.render import print_facts, print_json, print_json_line, print_table, safe, talk
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.submit import submit
from trainbox.cli.urls import segment

STATES = (
    "queued", "preparing", "running", "collecting", "verifying",
    "succeeded", "failed", "cancelled", "interrupted",
)  # fmt: skip


@click.group(cls=Noun)
def command() -> None:
    """Train: submit, follow, cancel, retry."""


command.add_command(submit)


@command.command("ls")
@click.option("--state", multiple=True, type=click.Choice(STATES), help="May be repeated.")
@click.option("--task", help="Of this task type.")
@click.option("--data", help="On this dataset (id).")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--all", "everything", is_flag=True, help="Every page.")
@pass_session
def ls(  # noqa: PLR0917 - one argument per option
    session: Session,
    state: tuple[str, ...],
    task: str | None,
    data: str | None,
    limit: int,
    everything: bool,
) -> None:
    """List jobs, newest first."""
    filters: dict[str, Any] = {"task": task, "dataset": data, "limit": limit}
    filters["state"] = ",".join(state) or None
    if everything:
        items = list(session.client.pages("/v1/jobs", **filters))
    else:
        items = session.client.get("/v1/jobs", **filters)["items"]
    if session.json:
        print_json(items)
        return
    rows = [
        (
            j["id"],
            j["name"],
            j["task"],
            j["state"],
            f"{j['progress']:.0%}",
            j["created_at"],
            j["reason"],
        )
        for j in items
    ]
    print_table(("ID", "NAME", "TASK", "STATE", "DONE", "CREATED", "WHY"), rows)


@command.command("show")
@click.argument("job")
@pass_session
def show(session: Session, job: str) -> None:
    """Show a job: state and reason, parameters, metrics, attempts."""
    found = session.client.get(f"/v1/jobs/{segment(job)}")
    if session.json:
        print_json(found)
    else:
        print_job(found)


@command.command("logs")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Bytes to skip.")
@pass_session
def logs(session: Session, job: str, follow: bool, offset: int) -> None:
    """Print what a job printed."""
    path = f"/v1/jobs/{segment(job)}/logs"
    clean = sys.stdout.isatty()
    try:
        with session.client.stream(path, offset=offset, follow=follow or None) as response:
            for chunk in response.iter_bytes():
                if clean:
                    click.echo(safe(chunk.decode(errors="replace")), nl=False)
                else:
                    click.echo(chunk, nl=False)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None


@command.command("events")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only events after this number.")
@pass_session
def events(session: Session, job: str, follow: bool, after: int) -> None:
    """Print a job's events, as JSON Lines under --json."""
    if follow:
        found = session.client.events(job, after=after)
    else:
        found = session.client.recorded_events(job, after=after)
    try:
        for event in found:
            if session.json:
                print_json_line(event)
            else:
                click.echo(safe(f"{event['seq']:>6}  {event['at']}  {describe(event)}"))
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None


@command.command("wait")
@click.argument("job")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Leave with 124 then.")
@pass_session
def wait(session: Session, job: str, timeout: float | None) -> None:
    """Follow a job to its end and leave with its exit code; Ctrl-C detaches."""
    ended = follow_to_end(session, job, timeout_s=timeout)
    if not session.json:
        print_job(ended)
    leave_with(ended)


@command.command("cancel")
@click.argument("job")
@pass_session
def cancel(session: Session, job: str) -> None:
    """End a job; a running one takes a moment to leave."""
    _cancelled(session, session.client.post(f"/v1/jobs/{segment(job)}/cancel"))


@command.command("retry")
@click.argument("job")
@pass_session
def retry(session: Session, job: str) -> None:
    """Run the steps of a job that did not succeed again, as new attempts."""
    _answer(session, session.client.post(f"/v1/jobs/{segment(job)}/retry"))


@command.command("artifacts")
@click.argument("job")
@pass_session
def artifacts(session: Session, job: str) -> None:
    """List what a job left behind."""
    items = session.client.get(f"/v1/jobs/{segment(job)}/artifacts")["items"]
    if session.json:
        print_json(items)
    else:
        rows = [(a["id"], a["step"], a["name"], a["kind"], a["bytes"], a["digest"]) for a in items]
        print_table(("ID", "STEP", "NAME", "KIND", "BYTES", "DIGEST"), rows)


def print_job(job: dict[str, Any]) -> None:
    """Print a job for people."""
    names = (
        "id",
        "name",
        "task",
        "state",
        "reason",
        "backend",
        "dataset_id",
        "progress",
        "model_id",
    )
    print_facts({name: job[name] for name in names if job[name] is not None})
    for title in ("params", "metrics"):
        if job[title]:
            click.echo(f"\n{title}")
            print_facts({f"  {safe(name)}": value for name, value in job[title].items()})
    attempts = [
        (step["name"], a["number"], a["state"], a["exit_code"], a["reason_code"], a["started_at"])
        for step in job["steps"]
        for a in step["attempts"]
    ]
    if attempts:
        click.echo()
        print_table(("STEP", "ATTEMPT", "STATE", "EXIT", "WHY", "STARTED"), attempts)


def _answer(session: Session, job: dict[str, Any]) -> None:
    if session.json:
        print_json(job)
    else:
        talk(f"Job {job['id']} is {job['state']}.")


def _cancelled(session: Session, job: dict[str, Any]) -> None:
    if session.json or job["state"] in STATE_EXITS:
        _answer(session, job)
    else:
        talk(f"Job {job['id']} is cancelling; follow it: trainbox jobs wait {job['id']}")
