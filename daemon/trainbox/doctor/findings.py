"""What a check says: what was seen, and one command that fixes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It works, and something should be done about it."""
    FAIL = "fail"
    """Something does not work, or a promise does not hold."""
    SKIP = "skip"
    """It could not be looked at; ``seen`` says why."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        id: stable, such as ``token.mode``.
        seen: what was found, as a sentence or a value.
        fix: one shell command that fixes it; empty where nothing is to be done.
    """

    id: str
    status: Status
    seen: str
    fix: str = ""


def ok(check: str, seen: str) -> Finding:
    """Return a good finding."""
    return Finding(check, Status.OK, seen)


def warn(check: str, seen: str, fix: str) -> Finding:
    """Return one that should be looked after."""
    return Finding(check, Status.WARN, seen, fix)


def fail(check: str, seen: str, fix: str) -> Finding:
    """Return a bad one."""
    return Finding(check, Status.FAIL, seen, fix)


def skip(check: str, seen: str) -> Finding:
    """Return one that could not be looked at."""
    return Finding(check, Status.SKIP, seen)
