"""``trainbox jobs logs|events|wait``: what a job says, while it goes on or afterwards."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from typing import Any

import click

from trainbox.cli.exits import Exit
from trainbox.cli.follow import describe, follow_to_end, leave_with
from trainbox.cli.job_reports import print_job
from trainbox.cli.render import print_json_line, safe
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.urls import segment

_LEVELS = ("debug", "info", "warning", "error")
_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red"}
_PAGE = 5000


@click.command("logs", cls=Verb)
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends; begins before it.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Bytes to skip.")
@click.option("--level", type=click.Choice(_LEVELS), help="Only lines at least so grave.")
@click.option("--grep", metavar="TEXT", help="Only lines with this text, whatever its case.")
@click.option("--tail", type=click.IntRange(1), metavar="N", help="Only the last N of them.")
@pass_session
def logs(
    session: Session,
    job: str,
    *,
    follow: bool,
    offset: int,
    level: str | None,
    grep: str | None,
    tail: int | None,
) -> None:
    """Print what a job printed; --json gives one object a line."""
    chosen = level is not None or grep is not None or tail is not None
    if chosen and (follow or offset):
        raise click.UsageError("--follow and --offset go with the whole log: leave the choice out")
    try:
        if chosen:
            for line in _lines(session, job, tail, level=level, text=grep):
                _print_line(session, line)
        else:
            _print_bytes(session, job, session.client.log(job, offset=offset, follow=follow))
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None


def _print_bytes(session: Session, job: str, chunks: Iterator[bytes]) -> None:
    for text in _texts(chunks):
        if session.json:
            print_json_line({"job_id": job, "text": text})
        else:
            click.echo(safe(text) if sys.stdout.isatty() else text, nl=False)
            sys.stdout.flush()


def _lines(
    session: Session, job: str, tail: int | None, **which: str | None
) -> Iterator[dict[str, Any]]:
    """Return lines, page after page; the last ones oldest first."""
    path = f"/v1/jobs/{segment(job)}/log-lines"
    offset, missing = 0, tail
    if tail is not None:  # by their numbers from the front, which do not move while it prints
        matching = session.client.get(path, limit=1, **which)["matching"]
        offset = max(0, matching - tail)
        missing = matching - offset
    while missing is None or missing > 0:
        limit = _PAGE if missing is None else min(_PAGE, missing)
        lines = session.client.get(path, limit=limit, offset=offset, **which)["lines"]
        yield from lines
        offset += len(lines)
        missing = None if missing is None else missing - len(lines)
        if len(lines) < limit:
            return


def _print_line(session: Session, line: dict[str, Any]) -> None:
    if session.json:
        print_json_line(line)
    else:
        colour = _COLOURS.get(line["level"]) if sys.stdout.isatty() else None
        click.echo(click.style(safe(line["message"]), fg=colour))


@click.command("events", cls=Verb)
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


@click.command("wait", cls=Verb)
@click.argument("job")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Leave with 124 then.")
@pass_session
def wait(session: Session, job: str, timeout: float | None) -> None:
    """Follow a job to its end and leave with its exit code; Ctrl-C detaches."""
    ended = follow_to_end(session, job, timeout_s=timeout)
    if not session.json:
        print_job(ended)
    leave_with(session, ended)


def _texts(chunks: Iterator[bytes]) -> Iterator[str]:
    """Return text as it comes; a character cut in two waits for its other half."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest
