"""Follow a job to its end: live on a terminal, lines into a pipe, JSON Lines for a program."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import click

from trainbox.cli.exits import STATE_EXITS, CliError, Exit
from trainbox.cli.job_reports import explanation_lines, next_step
from trainbox.cli.render import human_seconds, live, print_json_line, safe, talk
from trainbox.cli.session import Session
from trainbox.cli.urls import segment

SECOND_CHANCE_S = 2.0
Shown = Callable[[dict[str, Any]], None]


def follow_to_end(
    session: Session, job_id: str, *, after: int = 0, timeout_s: float | None = None
) -> dict[str, Any]:
    """Show a job's events until it ends; returns the job as it ended.

    Ctrl-C detaches: the job goes on. On a terminal a second one offers to cancel it.

    Raises:
        CliError: timeout (124), or the daemon stayed away (7).
        click.exceptions.Exit: detached (130).
    """
    try:
        with deadline(timeout_s, job_id), display(session) as show:
            for event in session.client.events(job_id, after=after):
                show(event)
    except KeyboardInterrupt:
        _detach(session, job_id)
    job: dict[str, Any] = session.client.get(f"/v1/jobs/{segment(job_id)}")
    return job


def leave_with(session: Session, job: Mapping[str, Any]) -> None:
    """Leave with the exit code of a job's end; a bad one says why, and what to do next.

    Raises:
        CliError: the job did not succeed.
    """
    exit_code = STATE_EXITS[job["state"]]
    if exit_code is Exit.OK:
        return
    told = _explanation(session, job["id"])
    steps = [next_step(step) for step in told["next_steps"]] if told else []
    lines = list(explanation_lines(told)) if told and not session.json else []
    raise CliError(
        f"Job {job['id']} {job['state']}.",
        exit_code,
        where=[safe(f"{job['reason_code']}: {job['reason']}".strip(": ")), *lines],
        next_step="\n  or: ".join(steps) or f"Read its log: trainbox jobs logs {job['id']}",
        code=job["reason_code"],
    )


def _explanation(session: Session, job_id: str) -> Mapping[str, Any] | None:
    """Return the daemon's report; None where it went away since: the end itself is known."""
    with contextlib.suppress(CliError):
        told: Mapping[str, Any] = session.client.get(f"/v1/jobs/{segment(job_id)}/explain")
        return told
    return None


def describe(event: Mapping[str, Any]) -> str:
    """Return an event as one line for people."""
    data, kind = event["data"], event["kind"]
    if kind == "progress":
        eta = f", {human_seconds(data['eta_s'])} left" if data.get("eta_s") else ""
        return f"{data.get('fraction', 0):4.0%} {data.get('message', '')}".rstrip() + eta
    if kind == "metric":
        step = f" (step {data['step']})" if "step" in data else ""
        return f"{data.get('name')} = {_number(data.get('value'))}{step}"
    if kind == "state":
        why = ": ".join(filter(None, (data.get("reason_code"), data.get("reason"))))
        return f"{data.get('state', '')}" + (f" ({why})" if why else "")
    if kind == "model":
        return f"model {data.get('name')} ({data.get('model_id')})"
    if kind == "message":
        return str(data.get("text", ""))
    words = [data.get(name) for name in ("text", "code", "message", "reason", "hint", "name")]
    said = ": ".join(str(word) for word in words if word)
    return f"{kind}: {said or data}"


@contextlib.contextmanager
def display(session: Session) -> Iterator[Shown]:
    """Return how to show one event here: live, as lines, or as JSON Lines."""
    if session.json:
        yield print_json_line
    elif live():
        with _live() as show:
            yield show
    else:
        yield lambda event: talk(describe(event))


@contextlib.contextmanager
def _live() -> Iterator[Shown]:
    """Show one moving line for progress and keep what else is worth keeping."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        line = progress.add_task("queued", total=1.0)

        def show(event: dict[str, Any]) -> None:
            text = safe(describe(event))
            if event["kind"] == "progress":
                progress.update(line, completed=event["data"].get("fraction", 0.0))
                progress.update(line, description=_doing(event["data"])[:60])
            elif event["kind"] == "metric":
                progress.update(line, description=text[:60])
            else:
                progress.console.print(Text(text))

        yield show


def _doing(data: Mapping[str, Any]) -> str:
    """Return what beside its share is to be said of progress: words, and the time left."""
    left = f"{human_seconds(data['eta_s'])} left" if data.get("eta_s") else ""
    return safe(", ".join(filter(None, (data.get("message", ""), left))))


@contextlib.contextmanager
def deadline(timeout_s: float | None, job_id: str) -> Iterator[None]:
    """Raise after a time, also out of a blocking read; the job goes on."""
    if timeout_s is None:
        yield
        return

    def late(_number: int, _frame: FrameType | None) -> None:
        raise CliError(
            f"Job {job_id} did not end within {timeout_s:g} s; it goes on.",
            Exit.TIMEOUT,
            next_step=f"Wait again: trainbox jobs wait {job_id}",
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(timeout_s, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _detach(session: Session, job_id: str) -> None:
    talk(f"\nDetached; the job goes on. Back to it: trainbox jobs wait {job_id}")
    if sys.stdin.isatty() and sys.stderr.isatty():
        talk("Ctrl-C once more, now, to cancel the job instead.")
        try:
            time.sleep(SECOND_CHANCE_S)
        except KeyboardInterrupt:
            if click.confirm(f"Cancel job {job_id}?", err=True):
                session.client.post(f"/v1/jobs/{segment(job_id)}/cancel")
                talk("Cancel was asked for.")
    raise click.exceptions.Exit(Exit.INTERRUPTED)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)
