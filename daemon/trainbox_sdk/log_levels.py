"""How grave a printed line is, by its own words.

Understood are the forms that training code prints: Python's ``logging`` (``WARNING:root:…`` and
formats with a time before the level), loguru, structlog, absl and glog (``W1121 10:00:00 …``),
JSON lines, ``level=error`` pairs, ``warnings.warn``, tracebacks, ``error: …``. A word further on in
the sentence says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trainbox_sdk.job_logs import LogLevel

_WORDS = {
    LogLevel.DEBUG: ("debug", "dbg", "trace", "verbose", "notset"),
    LogLevel.INFO: ("info", "notice", "success", "information"),
    LogLevel.WARNING: ("warning", "warn"),
    LogLevel.ERROR: ("error", "err", "critical", "crit", "fatal", "panic", "exception"),
}
_LEVELS = {word: level for level, words in _WORDS.items() for word in words}
_RANKS = {level: level.rank for level in LogLevel}
_LETTERS = {"d": LogLevel.DEBUG, "w": LogLevel.WARNING, "e": LogLevel.ERROR, "f": LogLevel.ERROR}

_MENTIONS = ("warn", "err", "crit", "fatal", "debug", "trace", "panic", "exception", '"level')
"""No line is anything but ``info`` without one of these, or a letter of glog's: a search for a few
words is far cheaper than a look at every line."""
_GLOG_LINE = re.compile(r"\n[wefd]\d{4,8} [\d:]")
_OUR_NOTICE = "[trainbox: "

_LOOKED_AT = 256
_WORD = "|".join(sorted(_LEVELS, key=len, reverse=True))
_SHOUTED = _WORD.upper()
_STAMP = r"[(\[]?\d[\d:.,/TZ+_-]*+[)\]]?"
_FIELD = r"\[[^\]\n]{0,60}+\]"
_NO_NUMBER = r"(?!\s*[-+]?[\d.]+(?:e[-+]?\d+)?%?\s*(?:$|[,;|]))"
"""``error: 0.03`` is a measure."""
_LEADING = re.compile(
    # Times and fields in brackets may stand before the level; then the level in brackets of its
    # own, or followed by what ends a field.
    rf"(?>\s|\||-|{_STAMP}(?=[\s|:\]\[-])|(?!\[\s*(?:{_WORD})\s*\]){_FIELD}:?)*+"
    rf"(?:\[\s*({_WORD})\s*\]|({_WORD})(?=:{_NO_NUMBER}|\s*\||\s+-\s|\]))",
    re.IGNORECASE,
)
_BARE = re.compile(rf"\s*({_SHOUTED})(?=\s)")
_STAMPED = re.compile(rf"\s*+{_STAMP}[\s|,-]")
_LATER = re.compile(rf"(?<![\w.])({_SHOUTED})(?![\w.])")
_PAIR = re.compile(rf"(?:^|\s)(?:level|lvl|severity)=\"?({_WORD})\b", re.IGNORECASE)
_GLOG = re.compile(r"([WEFD])\d{4,8} [\d:]")
_JSON_WORD = re.compile(
    r'"(?:level|levelname|level_name|log_?level|severity|lvl)"\s*+:\s*+"(\w++)"', re.IGNORECASE
)
_JSON_NUMBER = re.compile(r'"(level|levelno)"\s*+:\s*+(\d{1,2}+)\b')
_WARNING_FORM = re.compile(r"\S.*:\d+: (?:\w+\.)*\w*Warning: ")
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*+\.)*+[A-Za-z_]\w*(?:Error|Exception): \S")
_FAULT = re.compile(r"Fatal Python error: |panic: |thread '[^']*' panicked ")
_SCALES = {"level": (20, 40, 50), "levelno": (10, 30, 40)}
"""Up to where it is debug, and from where a warning and an error: pino's numbers, and Python's."""

_TRACEBACK = "Traceback (most recent call last)"
_CHAINS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)


def levels_of(lines: Sequence[str], text: str) -> bytearray:
    """Return the rank (:attr:`LogLevel.rank`) of each line.

    Args:
        lines: of the text.
        text: the lines joined by line feeds.
    """
    ranks = bytearray(b"\x01") * len(lines)
    in_block = 0
    for number in sorted(_mentioned(text)):
        if number < in_block:
            continue
        line = lines[number]
        if _TRACEBACK in line[:_LOOKED_AT]:
            in_block = _end_of_traceback(lines, number)
            ranks[number:in_block] = bytes([_RANKS[LogLevel.ERROR]]) * (in_block - number)
            continue
        ranks[number] = _RANKS[level_of(line)]
        if "Warning: " in line and _shows_its_source(lines, number):
            ranks[number + 1] = _RANKS[LogLevel.WARNING]
            in_block = number + 2
    return ranks


def level_of(line: str) -> LogLevel:
    """Return how grave one line is, taken alone."""
    line = line[:_LOOKED_AT]
    if line.startswith(_OUR_NOTICE):
        return LogLevel.WARNING
    if line.lstrip()[:1] == "{":
        return _json_level(line)
    found = _LEADING.match(line) or _BARE.match(line)
    if found is None and _STAMPED.match(line):
        found = _LATER.search(line)
    if found is None and "=" in line:
        found = _PAIR.search(line)
    if found is not None:
        return _LEVELS[found[found.lastindex or 0].lower()]
    return _unlabelled(line)


def _unlabelled(line: str) -> LogLevel:
    if found := _GLOG.match(line):
        return _LETTERS[found[1].lower()]
    if _WARNING_FORM.match(line):
        return LogLevel.WARNING
    if _EXCEPTION.match(line) or _FAULT.match(line) or _TRACEBACK in line:
        return LogLevel.ERROR
    return LogLevel.INFO


def _shows_its_source(lines: Sequence[str], number: int) -> bool:
    """Whether the next line is the source line that ``warnings.warn`` points at."""
    following = lines[number + 1][:2] if number + 1 < len(lines) else ""
    return following == "  " and _WARNING_FORM.match(lines[number][:_LOOKED_AT]) is not None


def _json_level(line: str) -> LogLevel:
    if found := _JSON_WORD.search(line):
        return _LEVELS.get(found[1].lower(), LogLevel.INFO)
    if found := _JSON_NUMBER.search(line):
        debug, warning, error = _SCALES[found[1]]
        number = int(found[2])
        if number >= warning:
            return LogLevel.ERROR if number >= error else LogLevel.WARNING
        return LogLevel.DEBUG if number <= debug else LogLevel.INFO
    return LogLevel.INFO


def _mentioned(text: str) -> set[int]:
    """Return the lines that mention any level but the ordinary."""
    low = "\n" + text.lower()  # so that the first line, too, comes after a line feed
    starts: set[int] = set()
    for word in _MENTIONS:
        starts.update(_lines_with(low, word))
    starts.update(found.start() + 1 for found in _GLOG_LINE.finditer(low))
    starts.update(_lines_with(low, _OUR_NOTICE))
    return {number - 1 for number in _numbers(low, sorted(starts))}


def _lines_with(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        at = text.find(word, end) if end >= 0 else -1


def _numbers(text: str, starts: Sequence[int]) -> Iterator[int]:
    number = before = 0
    for start in starts:
        number += text.count("\n", before, start)
        before = start
        yield number


def _end_of_traceback(lines: Sequence[str], first: int) -> int:
    """Return the line after a traceback's last: the exception, and those raised while handling."""
    while True:
        number = first + 1
        while number < len(lines) and lines[number][:1] in (" ", "\t"):
            number += 1
        end = min(number + 1, len(lines))  # after the exception itself
        chained = _chained(lines, end)
        if chained is None:
            return end
        first = chained


def _chained(lines: Sequence[str], end: int) -> int | None:
    """Return where the next traceback of a chain begins: blank line, sentence, blank line, it."""
    block = lines[end : end + 4]
    whole = len(block) == 4 and not block[0] and not block[2]  # noqa: PLR2004 - those four
    return end + 3 if whole and block[1].strip() in _CHAINS and _TRACEBACK in block[3] else None
