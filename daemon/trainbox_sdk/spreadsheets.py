"""CSV that a spreadsheet shows and does not run (OWASP, "CSV Injection")."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from trainbox_sdk.errors import DataFault

STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")
FAULT_COLUMNS = ("file", "row", "line", "column", "rule", "value", "message", "hint")


def safe_cell(text: str) -> str:
    """Return a text that a spreadsheet does not compute: what looks like a formula is quoted."""
    return f"'{text}" if text.startswith(STARTS_FORMULA) else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a small table as CSV (RFC 4180); None is an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(header)
    for row in rows:
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue()


def faults_csv(faults: Iterable[DataFault]) -> str:
    """Return faults of data as CSV, one line each."""
    return csv_text(
        FAULT_COLUMNS, ([getattr(fault, name) for name in FAULT_COLUMNS] for fault in faults)
    )
