"""``trainbox images``: works through the backends, without a daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trainbox.cli.durations import DURATION
from trainbox.cli.exits import CliError, Exit, start_exit
from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import human_bytes, live, safe, talk
from trainbox.cli.session import Noun, Session, load_settings, pass_session

if TYPE_CHECKING:
    from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
    from trainbox_sdk.errors import TrainboxError

T = TypeVar("T")


@click.group(cls=Noun)
def command() -> None:
    """Build the environments that training runs in; needs no running daemon."""


@command.command("build")
@click.argument("names", nargs=-1)
@click.option("--backend", help="On this backend; else the first healthy one.")
@output_option
@pass_session
def build(session: Session, names: tuple[str, ...], backend: str | None) -> None:
    """Build environments, all of them by default; what is built already stays."""
    from trainbox import workbench

    with progress() as report:
        built = run_async(workbench.build_environments(load_settings(), names, backend, report))
    _print(session, [_built(one) for one in built])


@command.command("ls")
@click.option("--all", "everything", is_flag=True, help="Also of other locks and requirements.")
@output_option
@pass_session
def ls(session: Session, everything: bool) -> None:
    """List environments and where each is built."""
    from trainbox import workbench

    listed = run_async(workbench.list_environments(load_settings(), everything=everything))
    built = [_built(one) for _, one in listed if one is not None]
    absent = [_absent(environment) for environment, one in listed if environment and not one]
    _print(session, sorted(built + absent, key=lambda row: str(row["name"])))


@command.command("verify")
@click.argument("names", nargs=-1)
@click.option("--backend", help="On this backend; else the first healthy one.")
@output_option
@pass_session
def verify(session: Session, names: tuple[str, ...], backend: str | None) -> None:
    """Try the imports of what is built once more, and hold it to its lock."""
    from trainbox import workbench

    seen = run_async(workbench.verify_environments(load_settings(), names, backend))
    rows = [_verified(environment, found) for environment, found in seen]
    print_items(
        session,
        rows,
        (
            ("NAME", lambda row: row["name"]),
            ("VERIFIED", lambda row: row["verified"]),
            ("REFERENCE", lambda row: row.get("reference")),
            ("PACKAGES", lambda row: len(row.get("packages", ()))),
            ("WHY", lambda row: row.get("why")),
        ),
        key="name",
    )
    failed = [row["name"] for row in rows if not row["verified"]]
    if failed:
        raise CliError(
            f"not as it should be: {', '.join(failed)}",
            Exit.REJECTED,
            next_step="remove it and build again: trainbox images build",
        )


@command.command("prune")
@click.option("--backend", help="On this backend; else the first healthy one.")
@click.option("--keep", default=20, show_default=True, help="Leave this many, the last used.")
@click.option(
    "--unused-for",
    type=DURATION,
    default="30d",
    show_default=True,
    help="Of the others, remove those that no job asked for in so long.",
)
@output_option
@pass_session
def prune(session: Session, backend: str | None, keep: int, unused_for: float) -> None:
    """Remove environments made for users' requirements; a job that needs one builds it again."""
    from trainbox import workbench

    removed = run_async(
        workbench.prune_environments(load_settings(), backend, keep=keep, unused_s=unused_for)
    )
    _print(session, [_built(one) for one in removed])


@contextlib.contextmanager
def progress() -> Iterator[BuildProgress]:
    """Show a build: a bar on a terminal, a line per sentence elsewhere."""
    if not live():
        said: list[str] = []

        def report_line(fraction: float, sentence: str) -> None:
            if said[-1:] != [sentence]:
                said.append(sentence)
                talk(f"{fraction:4.0%} {sentence}")

        yield report_line
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as shown:
        line = shown.add_task("", total=1.0)

        def report_bar(fraction: float, sentence: str) -> None:
            shown.update(
                line, completed=fraction, description=safe(sentence)[:70].replace("[", "(")
            )

        yield report_bar


def run_async(call: Coroutine[Any, Any, T]) -> T:
    """Run one call into the daemon's own code; its errors become ours.

    Raises:
        CliError: whatever the call refused, with what to do.
    """
    import asyncio

    from trainbox_sdk.errors import BackendRejected, NotFound, TrainboxError, ValidationFailed

    exits = {
        NotFound: Exit.NOT_FOUND,
        ValidationFailed: Exit.REJECTED,
        BackendRejected: Exit.REJECTED,
    }
    try:
        return asyncio.run(call)
    except TrainboxError as error:
        exit_code = next(
            (code for kind, code in exits.items() if isinstance(error, kind)),
            start_exit(error.code),
        )
        raise CliError(error.message, exit_code, next_step=error.hint, code=error.code) from None


def _built(one: BuiltEnvironment) -> dict[str, Any]:
    return {
        "name": one.name,
        "backend": one.backend,
        "built": True,
        "digest": one.digest,
        "reference": one.reference,
        "bytes": one.bytes,
        "base": one.base,
        "created_at": one.created_at.isoformat(),
        "for_requirements": one.for_wishes,
        "used_at": one.used_at.isoformat() if one.used_at else None,
        "packages": list(one.packages),
    }


def _verified(environment: Environment, found: BuiltEnvironment | TrainboxError) -> dict[str, Any]:
    if isinstance(found, Exception):
        return {"name": environment.name, "verified": False, "why": found.message}
    return {**_built(found), "verified": True}


def _absent(environment: Environment) -> dict[str, Any]:
    return {"name": environment.name, "built": False, "digest": environment.digest}


def _print(session: Session, rows: list[dict[str, Any]]) -> None:
    print_items(
        session,
        rows,
        (
            ("NAME", lambda row: row["name"]),
            ("BACKEND", lambda row: row.get("backend")),
            ("BUILT", lambda row: row["built"]),
            ("SIZE", lambda row: human_bytes(row["bytes"]) if row["built"] else None),
            ("DIGEST", lambda row: row["digest"][:12]),
            ("BASE", lambda row: row.get("base")),
        ),
        key="name",
    )
