"""What cannot be undone: ``--dry-run`` shows it, ``--yes`` agrees, ``--no-input`` never asks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])


def yes_option(verb: F) -> F:
    """Give a verb ``--yes``."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(verb)


def dry_run_option(verb: F) -> F:
    """Give a verb ``--dry-run``."""
    return click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")(
        verb
    )


def agree(session: Session, question: str, *, yes: bool) -> None:
    """Go on only where somebody agrees.

    Raises:
        CliError: the answer was no (130), or nobody is there to ask and ``--yes`` was not given
            (2).
    """
    if yes:
        return
    if session.no_input or session.json or not sys.stdin.isatty():
        raise CliError(
            f"{question} Nobody can be asked here, so nothing was done.",
            Exit.USAGE,
            next_step="Look with --dry-run, then say it with --yes.",
        )
    if not click.confirm(question, err=True):
        raise CliError("Nothing was done.", Exit.INTERRUPTED)
