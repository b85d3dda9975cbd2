"""What the fake engine tells of printed lines: their text, and a level by their first word."""

from __future__ import annotations

import re

from trainbox_sdk.job_logs import LogFilter, LogLevel, LogLine, LogPage

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LEVEL = re.compile(r"\W*(debug|warning|error|critical|traceback)\b", re.IGNORECASE)
LEVELS = {
    "debug": LogLevel.DEBUG,
    "warning": LogLevel.WARNING,
    "error": LogLevel.ERROR,
    "critical": LogLevel.ERROR,
    "traceback": LogLevel.ERROR,
}


def page(printed: bytes, which: LogFilter) -> LogPage:
    """Return the lines of one attempt that a filter lets through."""
    lines = [
        _line(number, raw)
        for number, raw in enumerate(printed.removesuffix(b"\n").split(b"\n"), start=1)
        if printed
    ]
    fine = [line for line in lines if _shown(line, which)]
    if which.tail:
        end = max(len(fine) - which.offset, 0)
        shown = fine[max(end - which.limit, 0) : end]
    else:
        shown = fine[which.offset : which.offset + which.limit]
    return LogPage(tuple(shown), len(fine), len(lines))


def _line(number: int, raw: bytes) -> LogLine:
    text = ESCAPES.sub("", raw.decode("utf-8", "replace"))
    said = LEVEL.match(text)
    level = LEVELS[said[1].lower()] if said else LogLevel.INFO
    return LogLine(number, level, text, at=None, stream="", attempt=1)


def _shown(line: LogLine, which: LogFilter) -> bool:
    return line.level.rank >= which.level.rank and which.text.lower() in line.message.lower()
