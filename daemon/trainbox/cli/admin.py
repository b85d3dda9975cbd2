"""``trainbox admin``: look after a daemon, its data and its host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainbox.cli import operate
from trainbox.cli.consent import dry_run_option, yes_option
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.images import progress, run_async
from trainbox.cli.render import human_bytes, print_facts, print_json, safe, talk
from trainbox.cli.session import Noun, Session, load_settings, pass_session
from trainbox.cli.trash import DAY_S, free

if TYPE_CHECKING:
    from trainbox.doctor import Finding
    from trainbox.settings import Settings

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


@click.group(cls=Noun)
def command() -> None:
    """Look after a daemon: doctor, backup, restore, gc, audit, drain, units."""


for _verb in (
    operate.audit,
    operate.drain,
    operate.undrain,
    operate.openapi,
    operate.install_units,
):
    command.add_command(_verb)


@command.command("doctor")
@pass_session
def doctor(session: Session) -> None:
    """Look at everything a daemon needs and try what it promises; exit 1 if anything fails.

    Each line: how it is, which check, what was seen, and under a bad one the command that fixes it.
    """
    found = run_async(_examine(session, load_settings()))
    failed = [one for one in found if one.status == "fail"]
    if session.json:
        print_json([_document(one) for one in found])
    else:
        counts = {name: sum(one.status == name for one in found) for name in COLOURS}
        talk(", ".join(f"{number} {name}" for name, number in counts.items() if number))
    if failed:
        raise click.exceptions.Exit(Exit.INTERNAL)


@command.command("backup")
@click.argument("destination", required=False, type=click.Path(file_okay=False, path_type=Path))
@pass_session
def backup(session: Session, destination: Path | None) -> None:
    """Copy database and files into a new directory under DESTINATION; the daemon goes on.

    Without DESTINATION it goes to backups/whole in the state directory: copy it to another disk.
    """
    from trainbox import backups
    from trainbox.doctor.database import backup_folder

    settings = load_settings()
    with progress() as report, refusals():
        folder = (destination or backup_folder(settings)).absolute()
        made, manifest = backups.back_up(settings.state_dir, folder, report)
    if session.json:
        print_json({"path": str(made), **_plain(manifest)})
        return
    talk(f"{human_bytes(manifest.bytes)} in {manifest.files} files, and the database.")
    talk(f"Check it: trainbox admin restore --check {made}")
    click.echo(made)


@command.command("restore")
@click.argument("backup_dir", metavar="BACKUP", type=click.Path(path_type=Path))
@click.option("--check", "check_only", is_flag=True, help="Look at every byte; change nothing.")
@click.option("--replace", is_flag=True, help="Move the state that is there aside.")
@pass_session
def restore(session: Session, backup_dir: Path, check_only: bool, replace: bool) -> None:
    """Put BACKUP in the place of the state directory; the daemon must be stopped."""
    from trainbox import backups

    settings = load_settings()
    if check_only:
        with progress() as report, refusals():
            checked = backups.check(backup_dir, report)
        _print_check(session, checked)
        return
    with progress() as report, refusals():
        aside = backups.restore(backup_dir, settings.state_dir, report, replace=replace)
    said = {"state_dir": str(settings.state_dir), "moved_aside": str(aside) if aside else None}
    if session.json:
        print_json(said)
    else:
        print_facts(said)
        talk("Start the daemon again; it writes a new local token. Other tokens are as they were.")


@command.command("gc")
@click.option(
    "--older-than", type=click.FloatRange(0), default=0.0, metavar="DAYS", help="In the trash."
)
@dry_run_option
@yes_option
@pass_session
def gc(session: Session, older_than: float, dry_run: bool, yes: bool) -> None:
    """Delete what is in the trash and files that nothing refers to; says how much that frees."""
    free(session, older_than * DAY_S, dry_run=dry_run, yes=yes)


async def _examine(session: Session, settings: Settings) -> list[Finding]:
    from trainbox.doctor import examine

    found = []
    async for one in examine(settings, lambda path: _ask(session, path)):
        found.append(one)
        if not session.json:
            _print_finding(one)
    return found


def _ask(session: Session, path: str) -> Mapping[str, Any]:
    """GET a public path of the running daemon; one that is not ready answers, too."""
    from trainbox.cli.client import Client
    from trainbox_sdk.errors import Unavailable

    client = Client(session.base_url(), "")
    try:
        answer: Mapping[str, Any] = client.get(path)
    except CliError as error:
        if error.problem.get("checks"):
            return error.problem
        raise Unavailable(error.message) from None
    finally:
        client.close()
    return answer


def _print_finding(one: Finding) -> None:
    status = click.style(f"{one.status:<4}", fg=COLOURS[one.status])
    click.echo(f"{status}  {one.id}: {safe(one.seen)}")
    if one.fix:
        click.echo(f"      fix: {one.fix}")


def _print_check(session: Session, checked: Any) -> None:
    if session.json:
        print_json({**_plain(checked.manifest), "problems": checked.problems})
    elif not checked.problems:
        print_facts({**_plain(checked.manifest), "rows": dict(checked.manifest.rows)})
    if checked.problems:
        raise CliError(
            f"The backup {checked.path} is not whole.",
            Exit.REJECTED,
            where=checked.problems[:20],
            next_step="Keep the one before it.",
        )


def _document(one: Finding) -> dict[str, str]:
    return {"id": one.id, "status": one.status, "seen": one.seen, "fix": one.fix}


def _plain(manifest: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(manifest)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what the daemon's own rooms refuse into an error with an exit code."""
    from trainbox_sdk.errors import Conflict, NotFound, StorageFull, TrainboxError, ValidationFailed

    exits = {
        NotFound: Exit.NOT_FOUND,
        Conflict: Exit.CONFLICT,
        StorageFull: Exit.CONFLICT,
        ValidationFailed: Exit.REJECTED,
    }
    try:
        yield
    except TrainboxError as error:
        code = next((exits[kind] for kind in exits if isinstance(error, kind)), Exit.INTERNAL)
        raise CliError(error.message, code, next_step=error.hint, code=error.code) from None
