"""How a worker says no: one sentence, where, and how to fix it; as data, across a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["validation", "too_large", "storage_full"]

SHOWN = 120
"""Characters of a value that an error message quotes."""
MAX_FAULTS = 100
"""Faults of one file that are listed."""

_LIMITS = frozenset({"value_too_large"})
"""Rules that are limits rather than mistakes."""


@dataclass(frozen=True)
class Fault:
    """One place that cannot be taken; the fields of the SDK's ``DataFault``."""

    rule: str
    message: str
    hint: str = ""
    row: int | None = None
    line: int | None = None
    column: str | None = None
    value: str | None = None


class Faults:
    """Collects the first :data:`MAX_FAULTS` faults of a file."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    @property
    def full(self) -> bool:
        """Whether looking further is pointless."""
        return len(self.found) >= MAX_FAULTS

    def add(
        self,
        rule: str,
        what: str,
        hint: str = "",
        *,
        row: int | None = None,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        """Note a fault; ``what`` follows its place in the sentence."""
        if self.full:
            return
        # A name in JSON may hold half a surrogate pair, which no JSON answer can.
        column = column and column.encode("utf-8", "backslashreplace").decode()
        where = place(row=row, line=line, column=column)
        quoted = None if value is None else shown(value)
        message = f"{where}: {what}" if where else what
        self.found.append(Fault(rule, message, hint, row, line, column, quoted))

    def refusal(self) -> Refused:
        """Return the refusal of a file with these faults, of which there is at least one."""
        first = self.found[0]
        rules = {fault.rule for fault in self.found}
        kind: Kind = "too_large" if rules <= _LIMITS else "validation"
        message = first.message
        if len(self.found) > 1:
            many = f"the first {MAX_FAULTS}" if self.full else f"{len(self.found)}"
            message = f"{first.message} ({many} faults are listed)"
        return Refused(
            message,
            kind=kind,
            code=first.rule if len(rules) == 1 else "faulty_data",
            hint=first.hint,
            faults=self.found,
        )


class Refused(Exception):
    """The data cannot be taken.

    Args:
        message: one sentence.
        kind: which of the daemon's errors it becomes.
        code: stable machine word.
        hint: how to fix it.
        faults: the places; where there are none, the message itself is the only one.
        row, line, column: where the message points, if there are no faults.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Kind = "validation",
        code: str = "unreadable_data",
        hint: str = "",
        faults: Sequence[Fault] = (),
        row: int | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.code = code
        self.hint = hint
        self.faults = tuple(faults) or (Fault(code, message, hint, row, line, column),)

    def report(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return {
            "kind": self.kind,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "faults": [asdict(fault) for fault in self.faults[:MAX_FAULTS]],
        }


def place(*, row: int | None, line: int | None, column: str | None) -> str:
    """Return ``row 2 (line 3), column 'a'``, as far as it is known."""
    if row is not None:
        where = f"row {row}" if line is None else f"row {row} (line {line})"
    else:
        where = "" if line is None else f"line {line}"
    if column is None:
        return where
    named = f"column {shown(column)}"
    return f"{where}, {named}" if where else named


def shown(value: object) -> str:
    """Return a value as an error message quotes it: printable, and short."""
    text = repr(value[: SHOWN + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def counted(number: int, noun: str) -> str:
    """Return ``1 row``, ``2 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
