"""Output: data on stdout, talk on stderr; nothing from the daemon steers the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_DIRECTIONS = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that turn the direction of what follows (UAX #9), so that it reads as another text."""
_CONTROLS: dict[int, None] = {
    code: None
    for code in (*range(32), *range(127, 160), 0x2028, 0x2029, *_DIRECTIONS)
    if code not in (9, 10)
}

_ESCAPES = {code: f"\\u{code:04x}" for code in (*_CONTROLS, *range(0xD800, 0xE000)) if code > 31}  # noqa: PLR2004


def safe(text: object) -> str:
    """Return text without control characters: names and logs are other people's words."""
    return str(text).translate(_CONTROLS)


def talk(text: str) -> None:
    """Say something to a person, on stderr; under ``--json`` nobody is there to read it."""
    if not _for_a_program():
        click.echo(safe(text), err=True)


def live() -> bool:
    """Whether something that moves may be shown on stderr."""
    return sys.stderr.isatty() and not _for_a_program()


def _for_a_program() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and getattr(context.obj, "json", False)


def print_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(_escaped(json.dumps(document, ensure_ascii=False, indent=2)))


def print_json_line(document: object) -> None:
    """Print one line of JSON, at once."""
    click.echo(_escaped(json.dumps(document, ensure_ascii=False)))
    sys.stdout.flush()


def _escaped(text: str) -> str:
    """Return JSON with what steers a terminal as escapes: the same document (RFC 8259 §7)."""
    return text.translate(_ESCAPES)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows: a table on a terminal, tab-separated lines into a pipe."""
    table = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (list(headers), *table):
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        shown.add_column(header, overflow="fold")
    for row in table:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    named = [(_cell(name), _cell(value)) for name, value in facts.items()]
    width = max((len(name) for name, _ in named), default=0)
    for name, value in named:
        click.echo(f"{name:<{width}}  {value}")


def human_bytes(count: float) -> str:
    """Return a size with a binary unit, such as ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:  # noqa: PLR2004 - the step between units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """Return a duration such as ``3.4 s`` or ``2 min 05 s``."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (dict, list, tuple)):
        return safe(json.dumps(value, ensure_ascii=False)) if value else "-"
    return safe(value).replace("\n", " ").replace("\t", " ")
