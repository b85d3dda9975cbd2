"""Why a CSV file cannot be parsed, in words: a second, slow look taken only once it has failed."""

from __future__ import annotations

import csv
from pathlib import Path

from trainbox.workers.csv_text import Layout
from trainbox.workers.refusal import Refused

MAX_LINES = 2_000_000
"""Lines read in search of a reason, before giving up."""
MAX_VALUE = 16 * 1024**2
"""Bytes of one value, after which a quote counts as never closed."""


def diagnose(path: Path, layout: Layout, refusal: Refused) -> Refused:
    """Return a clearer refusal where one is found, else the given one."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        csv.field_size_limit(MAX_VALUE)
        reader = csv.reader(file, delimiter=layout.delimiter, strict=True)
        before = 0
        try:
            for _ in reader:
                before = reader.line_num
                if before > MAX_LINES:
                    return refusal
        except csv.Error as error:
            return _explain(str(error), before + 1, reader.line_num, refusal)
    return _lone_carriage_return(path) or refusal


def _explain(error: str, start: int, end: int, refusal: Refused) -> Refused:
    """Explain an error of the csv module in a record on lines ``start`` to ``end``."""
    if "unexpected end of data" in error or "larger than field limit" in error:
        return Refused(
            f"a quote opened in the record that starts on line {start} is never closed",
            code="unterminated_quote",
            hint='close it, or write a quote inside a quoted value twice: "5"" pipe"',
            loc=(f"line {start}",),
        )
    if "expected after" in error:
        return Refused(
            f"line {end}: text follows the closing quote of a value",
            code="malformed_csv",
            hint='write a quote inside a quoted value twice: "5"" pipe"',
            loc=(f"line {end}",),
        )
    return refusal


def _lone_carriage_return(path: Path) -> Refused | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
                return Refused(
                    f"line {number} holds a carriage return that does not end it",
                    code="malformed_csv",
                    hint="quote values that contain line breaks, and end every line the same way",
                    loc=(f"line {number}",),
                )
    return None
