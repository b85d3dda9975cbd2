"""What is wrong with uploaded data, as a table to read and as CSV to work through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.render import safe

SHOWN = 20
"""Faults in the error itself; the file has all that the daemon told."""
WIDEST = 60
COLUMNS = ("row", "column", "value", "rule", "hint")


@contextlib.contextmanager
def told(csv_file: Path | None) -> Iterator[None]:
    """Add the faults of refused data to the error, and write all of them to a file if asked.

    Raises:
        CliError: what was raised inside; or the file cannot be written.
    """
    try:
        yield
    except CliError as error:
        faults = error.problem.get("faults") or []
        if faults:
            if csv_file is not None:
                _write(csv_file, faults)
            if not error.json_wanted:  # a program gets them whole, beside the wrong fields
                error.where = tuple(_lines(faults, csv_file))
        raise


def _lines(faults: Sequence[Mapping[str, Any]], csv_file: Path | None) -> Iterator[str]:
    table = [COLUMNS, *([_cell(fault, name) for name in COLUMNS] for fault in faults[:SHOWN])]
    widths = [max(len(row[at]) for row in table) for at in range(len(COLUMNS))]
    for row in table:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
    if csv_file is not None:
        yield f"all {len(faults)} are in {csv_file}"
    elif len(faults) > SHOWN:
        yield f"and {len(faults) - SHOWN} more; --faults FILE writes all of them as CSV"


def _cell(fault: Mapping[str, Any], name: str) -> str:
    value = fault.get(name)
    if name == "hint":
        return safe(value or fault.get("message", "")).replace("\n", " ")
    text = "-" if value is None or value == "" else safe(value).replace("\n", "⏎")
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _write(path: Path, faults: Sequence[Mapping[str, Any]]) -> None:
    from trainbox_sdk.spreadsheets import FAULT_COLUMNS, csv_text

    rows = ([fault.get(name) for name in FAULT_COLUMNS] for fault in faults)
    try:
        path.write_text(csv_text(FAULT_COLUMNS, rows), encoding="utf-8", newline="")
    except OSError as error:
        where = [f"{path}: {error.strerror}"]
        raise CliError("The faults cannot be written.", Exit.USAGE, where=where) from None
