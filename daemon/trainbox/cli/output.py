"""Lists in the form the caller wants: ``-o table|json|jsonl|csv|id``; ``--json`` is ``-o json``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from trainbox.cli.render import print_json, print_json_line, print_table
from trainbox.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])
FORMATS = ("table", "json", "jsonl", "csv", "id")

Column = tuple[str, Callable[[Mapping[str, Any]], object]]
"""A heading, and how to find its value in an item."""


def output_option(verb: F) -> F:
    """Give a verb that lists things the option ``-o``; the session remembers what was chosen."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        session = ctx.ensure_object(Session)
        if value is not None:
            session.output = value
            session.json = session.json or value in {"json", "jsonl"}

    option = click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        expose_value=False,
        callback=remember,
        help="How to print the list; a table by default.",
    )
    return option(verb)


def print_items(
    session: Session,
    items: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    key: str = "id",
) -> None:
    """Print a list as the session's ``-o`` or ``--json`` says.

    Args:
        session: knows the form.
        items: documents of the daemon, printed whole in the JSON forms.
        columns: what a table or a CSV shows of each.
        key: the member that ``-o id`` prints.
    """
    output = session.output or ("json" if session.json else "table")
    if output == "json":
        print_json(list(items))
    elif output == "jsonl":
        for item in items:
            print_json_line(item)
    elif output == "id":
        for item in items:
            click.echo(item[key])
    elif output == "csv":
        _print_csv(items, columns)
    else:
        headers = [name for name, _ in columns]
        print_table(headers, [[find(item) for _, find in columns] for item in items])


def _print_csv(items: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([name.lower() for name, _ in columns])
    for item in items:
        writer.writerow([_inert(find(item)) for _, find in columns])


def _inert(value: object) -> object:
    """Return a cell that a spreadsheet does not take for a formula."""
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return "'" + value
    return value
