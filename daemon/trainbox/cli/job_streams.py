"""``trainbox jobs logs|events|wait``: what a job says, while it goes on or afterwards."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator

import click

from trainbox.cli.exits import Exit
from trainbox.cli.follow import describe, follow_to_end, leave_with
from trainbox.cli.job_reports import print_job
from trainbox.cli.render import print_json_line, safe
from trainbox.cli.session import Session, Verb, pass_session


@click.command("logs", cls=Verb)
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends; begins before it.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Bytes to skip.")
@pass_session
def logs(session: Session, job: str, follow: bool, offset: int) -> None:
    """Print what a job printed; --json gives one object a line."""
    chunks = session.client.log(job, offset=offset, follow=follow)
    try:
        for text in _texts(chunks):
            if session.json:
                print_json_line({"job_id": job, "text": text})
            else:
                click.echo(safe(text) if sys.stdout.isatty() else text, nl=False)
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None


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
