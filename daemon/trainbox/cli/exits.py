"""Exit codes and errors of the command line; ``docs/cli.md`` lists the same table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import IO, Any

import click


class Exit(IntEnum):
    """What a script can rely on."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    JOB_FAILED = 3
    JOB_CANCELLED = 4
    NOT_FOUND = 5
    AUTH = 6
    UNREACHABLE = 7
    REJECTED = 8
    CONFLICT = 9
    TIMEOUT = 124
    INTERRUPTED = 130


STATUS_EXITS = {
    400: Exit.REJECTED,
    401: Exit.AUTH,
    403: Exit.AUTH,
    404: Exit.NOT_FOUND,
    408: Exit.UNREACHABLE,
    409: Exit.CONFLICT,
    413: Exit.REJECTED,
    415: Exit.REJECTED,
    421: Exit.REJECTED,
    422: Exit.REJECTED,
    429: Exit.CONFLICT,
    503: Exit.UNREACHABLE,
    507: Exit.CONFLICT,
}
"""Exit code by HTTP status; any other failure is internal."""

SETTINGS_CODES = frozenset(
    {"plugins_file_invalid", "state_dir_unwritable", "address_in_use", "cannot_listen"}
)
"""Codes of a start that failed for a setting, a file or a host that its operator can correct."""

STATE_EXITS = {
    "succeeded": Exit.OK,
    "failed": Exit.JOB_FAILED,
    "interrupted": Exit.JOB_FAILED,
    "cancelled": Exit.JOB_CANCELLED,
}
"""Exit code by a job's final state."""


def start_exit(code: str) -> Exit:
    """Return the exit code for an error of the daemon's own start."""
    return Exit.USAGE if code in SETTINGS_CODES else Exit.INTERNAL


class CliError(click.ClickException):
    """An expected failure: what happened, where, and what to do next.

    Args:
        what: one sentence.
        exit_code: of the process.
        where: field, file or URL; one line each.
        next_step: what to do, empty where nothing is to be added.
        code: stable word of the daemon's problem document.
        problem: the whole of what the daemon answered, where that was a JSON object.
    """

    def __init__(
        self,
        what: str,
        exit_code: Exit,
        *,
        where: Sequence[str] = (),
        next_step: str = "",
        code: str = "",
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.exit_code = exit_code  # type: ignore[misc]  # click has one per class
        self.where = tuple(where)
        self.next_step = next_step
        self.code = code
        self.problem = dict(problem or {})
        # Asked now: by the time the error is shown, click has left the context.
        context = click.get_current_context(silent=True)
        self.json_wanted = context is not None and getattr(context.obj, "json", False)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error to stderr: as lines, or as one JSON document under ``--json``."""
        click.echo(self.as_json() if self.json_wanted else self.as_text(), file=file or sys.stderr)

    def as_text(self) -> str:
        """Return what, where and next step as lines."""
        # A daemon that has one thing to say about one field says it twice.
        where = (line for line in self.where if line != self.message)
        lines = [f"Error: {self.message}", *(f"  {line}" for line in where)]
        return "\n".join([*lines, f"Next: {self.next_step}"] if self.next_step else lines)

    def as_json(self) -> str:
        """Return the error as a JSON document."""
        document: dict[str, Any] = {
            "error": self.message,
            "code": self.code,
            "where": self.where,
            "next": self.next_step,
            "exit_code": int(self.exit_code),
        }
        if self.problem.get("faults"):
            document["faults"] = self.problem["faults"]
        return json.dumps(document, ensure_ascii=False)
