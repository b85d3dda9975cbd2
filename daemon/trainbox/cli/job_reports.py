"""``trainbox jobs explain|compare|reproduce``, and a job as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.render import (
    human_bytes,
    human_seconds,
    print_facts,
    print_json,
    print_table,
    safe,
    talk,
)
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.urls import segment

FORMS = ("curl", "cli", "python", "request")
TAIL = 20


@click.command("explain", cls=Verb)
@click.argument("job")
@pass_session
def explain(session: Session, job: str) -> None:
    """Say why a job waits or how it ended, what was seen, and what to do next."""
    told = session.client.get(f"/v1/jobs/{segment(job)}/explain")
    if session.json:
        print_json(told)
    else:
        print_facts({"job": told["job_id"], "state": told["state"]})
        print_explanation(told)


@click.command("compare", cls=Verb)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB JOB...")
@pass_session
def compare(session: Session, jobs: tuple[str, ...]) -> None:
    """Put two to twenty jobs side by side: metrics (* is best) and parameters that differ."""
    if len(jobs) < 2:  # noqa: PLR2004 - a pair
        raise CliError("Name at least two jobs.", Exit.USAGE, next_step="'trainbox jobs ls'.")
    found = session.client.get("/v1/jobs/compare", ids=",".join(jobs))
    if session.json:
        print_json(found)
        return
    headers = ["", *(job["id"] for job in found["jobs"])]
    print_table(headers, [*_facts(found), *_metrics(found), *_params(found)])
    talk("All read the same data." if found["same_data"] else "They read different data.")


@click.command("reproduce", cls=Verb)
@click.argument("job")
@click.option(
    "--as", "form", type=click.Choice(FORMS), help="Only this, ready to be run; else all."
)
@pass_session
def reproduce(session: Session, job: str, form: str | None) -> None:
    """Print how to submit the same job again, with curl, this program and Python."""
    told = session.client.get(f"/v1/jobs/{segment(job)}/reproduce")
    if session.json or form == "request":
        print_json(told if form is None else told[form])
    elif form is not None:
        click.echo(told[form].rstrip("\n"))
    else:
        for name in FORMS[:-1]:
            click.echo(f"# {name}\n{told[name].rstrip()}\n")


def print_job(job: Mapping[str, Any]) -> None:
    """Print a job for people."""
    names = (
        "id", "name", "task", "state", "reason", "backend", "dataset_id", "priority", "labels",
        "progress", "model_id", "deleted_at",
    )  # fmt: skip
    facts = {name: job[name] for name in names if job[name] not in (None, {}, "")}
    if job["duration_s"] is not None:
        facts["took"] = human_seconds(job["duration_s"])
    print_facts(facts)
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


def print_explanation(told: Mapping[str, Any]) -> None:
    """Print why a job stands where it stands."""
    for line in explanation_lines(told):
        click.echo(line)
    for step in told["next_steps"]:
        click.echo(f"next  {next_step(step)}")


def explanation_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Return what a report says, without what to do next."""
    if told["meaning"]:
        yield safe(told["meaning"])
    waiting, seen = told["waiting"], told["evidence"]
    if waiting:
        behind = f", behind {waiting['ahead']}" if waiting["ahead"] else ""
        yield f"number {waiting['position']} in the queue{behind}"
        for place, lacks in waiting["short"].items():
            said = ", ".join(f"{name} {_amount(name, value)}" for name, value in lacks.items())
            yield safe(f"{place} is short of {said}")
    if seen:
        yield ", ".join(_seen(seen))
        if seen["log_tail"]:
            yield "its log ends with"
            yield from (f"  {safe(line)}" for line in seen["log_tail"][-TAIL:])


def next_step(step: Mapping[str, Any]) -> str:
    """Return one thing to do as a line, with its command where there is one."""
    return safe(f"{step['text'].rstrip('.:')}: {step['cli']}" if step["cli"] else step["text"])


def _seen(seen: Mapping[str, Any]) -> Iterator[str]:
    yield safe(f"step {seen['step']}, attempt {seen['attempt']}")
    if seen["exit_code"] is not None:
        yield f"exit code {seen['exit_code']}"
    if seen["peak_memory_bytes"] is not None:
        limit = seen["memory_limit_bytes"]
        of = f" of {human_bytes(limit)}" if limit else ""
        yield f"peak memory {human_bytes(seen['peak_memory_bytes'])}{of}"
    if seen["duration_s"] is not None:
        yield f"took {human_seconds(seen['duration_s'])}"


def _amount(name: str, value: float) -> str:
    return human_bytes(value) if name.endswith("bytes") else f"{value:g}"


def _facts(found: Mapping[str, Any]) -> Iterator[list[object]]:
    jobs = found["jobs"]
    for name in ("name", "task", "state", "model_id"):
        yield [name, *(job[name] for job in jobs)]
    yield ["took", *(_or_none(human_seconds, job["duration_s"]) for job in jobs)]
    yield ["peak memory", *(_or_none(human_bytes, job["peak_memory_bytes"]) for job in jobs)]


def _metrics(found: Mapping[str, Any]) -> Iterator[list[object]]:
    for one in found["metrics"]:
        values = [
            None if value is None else f"{value:.6g}" + (" *" if at in one["best"] else "")
            for at, value in enumerate(one["values"])
        ]
        yield [f"metric {one['name']}", *values]


def _params(found: Mapping[str, Any]) -> Iterator[list[object]]:
    for one in found["params"]:
        yield [f"param {one['path']}", *one["values"]]


def _or_none(say: Any, value: float | None) -> str | None:
    return None if value is None else str(say(value))
