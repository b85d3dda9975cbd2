"""``trainbox jobs cancel|retry|label|priority|rm``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainbox.cli.consent import agree, dry_run_option, yes_option
from trainbox.cli.exits import STATE_EXITS, CliError, Exit
from trainbox.cli.labels import changed_labels
from trainbox.cli.render import human_bytes, print_json, talk
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.urls import segment


@click.command("cancel", cls=Verb)
@click.argument("job")
@pass_session
def cancel(session: Session, job: str) -> None:
    """End a job; a running one takes a moment to leave."""
    asked = session.client.post(f"/v1/jobs/{segment(job)}/cancel")
    if session.json or asked["state"] in STATE_EXITS:
        _answer(session, asked)
    else:
        talk(f"Job {asked['id']} is cancelling; follow it: trainbox jobs wait {asked['id']}")


@click.command("retry", cls=Verb)
@click.argument("job")
@pass_session
def retry(session: Session, job: str) -> None:
    """Run the steps of a job that did not succeed again, as new attempts."""
    _answer(session, session.client.post(f"/v1/jobs/{segment(job)}/retry"))


@click.command("label", cls=Verb)
@click.argument("job")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE | NAME-...")
@pass_session
def label(session: Session, job: str, changes: tuple[str, ...]) -> None:
    """Set labels of a job; NAME- takes one away, the others stay."""
    path = f"/v1/jobs/{segment(job)}"
    labels = changed_labels(session.client.get(path)["labels"], changes)
    changed = session.client.patch(path, {"labels": labels})
    if session.json:
        print_json(changed)
    else:
        said = ", ".join(f"{name}={value}" for name, value in changed["labels"].items())
        talk(f"Job {changed['id']}: {said or 'no labels'}")


@click.command("priority", cls=Verb, context_settings={"ignore_unknown_options": True})
@click.argument("job")
@click.argument("value", type=click.IntRange(-100, 100), metavar="-100..100")
@pass_session
def priority(session: Session, job: str, value: int) -> None:
    """Let a job that waits run earlier (higher) or later."""
    changed = session.client.patch(f"/v1/jobs/{segment(job)}", {"priority": value})
    if session.json:
        print_json(changed)
    else:
        talk(f"Job {changed['id']} has priority {changed['priority']}.")


@click.command("rm", cls=Verb)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@dry_run_option
@yes_option
@pass_session
def rm(session: Session, jobs: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Free the files of ended jobs for good; what became of them stays, and what models need."""
    plans = [_plan(session, job) for job in jobs]
    if dry_run:
        _say_plans(session, plans)
        return
    total = human_bytes(sum(plan["bytes"] for plan in plans))
    what = f"job {plans[0]['id']}" if len(plans) == 1 else f"{len(plans)} jobs"
    agree(session, f"Free the files of {what}, up to {total}?", yes=yes)
    freed = [session.client.delete(f"/v1/jobs/{segment(plan['id'])}") for plan in plans]
    if session.json:
        print_json(freed)
        return
    for one in freed:
        kept = f"; kept for a model: {', '.join(one['kept'])}" if one["kept"] else ""
        talk(f"Job {one['id']}: {human_bytes(one['bytes_freed'])} freed{kept}")


def _plan(session: Session, job: str) -> dict[str, Any]:
    """Return what could go; a job that goes on is refused before anything is asked.

    Raises:
        CliError: it has not ended.
    """
    path = f"/v1/jobs/{segment(job)}"
    found = session.client.get(path)
    if found["state"] not in STATE_EXITS:
        raise CliError(
            f"Job {found['id']} is {found['state']}; only an ended one can be freed.",
            Exit.CONFLICT,
            next_step=f"End it: trainbox jobs cancel {found['id']}",
        )
    artifacts = session.client.get(f"{path}/artifacts")["items"]
    return {"id": found["id"], "name": found["name"], "bytes": sum(a["bytes"] for a in artifacts)}


def _say_plans(session: Session, plans: list[dict[str, Any]]) -> None:
    if session.json:
        print_json(plans)
        return
    for plan in plans:
        talk(f"Would free the files of job {plan['id']}, up to {human_bytes(plan['bytes'])}.")


def _answer(session: Session, job: Mapping[str, Any]) -> None:
    if session.json:
        print_json(job)
    else:
        talk(f"Job {job['id']} is {job['state']}.")
