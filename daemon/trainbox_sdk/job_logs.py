"""What a job printed, as lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LogLevel(StrEnum):
    """How grave a line is, as its own words say; what says nothing is ``info``."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Its place in the order of gravity."""
        return list(LogLevel).index(self)


@dataclass(frozen=True)
class LogLine:
    """One printed line.

    Attributes:
        number: from 1, over all attempts of the job.
        at: when it came, to the tenth of a second; None where that was not noted.
        stream: ``stdout`` or ``stderr``; empty where that was not noted.
        message: at most 16 KiB.
    """

    number: int
    level: LogLevel
    message: str
    at: datetime | None
    stream: str
    attempt: int


@dataclass(frozen=True)
class LogFilter:
    """Which lines.

    Attributes:
        level: lines at least this grave.
        text: that this occurs in; the case of letters does not matter.
        offset: how many of the lines that match to leave out; counted from the end for ``tail``.
        tail: the last lines rather than the first; they still come oldest first.
    """

    level: LogLevel = LogLevel.DEBUG
    text: str = ""
    limit: int = 500
    offset: int = 0
    tail: bool = False


@dataclass(frozen=True)
class LogPage:
    """Lines in the order they came.

    Attributes:
        matching: lines that match, before paging.
        total: lines there are.
    """

    lines: tuple[LogLine, ...]
    matching: int
    total: int
