"""How a worker says no: one sentence, where, and how to fix it; as data, across a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["validation", "too_large", "storage_full"]

SHOWN = 120
"""Characters of a value that an error message quotes."""


@dataclass(frozen=True)
class Complaint:
    """One thing wrong: a path to it, what is wrong, how to fix it."""

    loc: tuple[str | int, ...]
    msg: str
    hint: str = ""


class Refused(Exception):
    """The data cannot be taken.

    Args:
        message: one sentence.
        kind: which of the daemon's errors it becomes.
        code: stable machine word.
        hint: how to fix it.
        complaints: details; where there are none, the message is the only one.
        loc: where the message points, without the leading ``body``.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Kind = "validation",
        code: str = "unreadable_data",
        hint: str = "",
        loc: Iterable[str | int] = (),
        complaints: Iterable[Complaint] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.code = code
        self.hint = hint
        self.complaints = tuple(complaints) or (Complaint(("body", *loc), message, hint),)

    def report(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return {
            "kind": self.kind,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "errors": [asdict(complaint) for complaint in self.complaints],
        }


def shown(value: object) -> str:
    """Return a value as an error message quotes it: printable, and short."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def counted(number: int, noun: str) -> str:
    """Return ``1 row``, ``2 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
