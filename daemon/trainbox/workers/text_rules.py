"""The types a text may have, as data: a regular expression and a cast each, and both must hold.

DuckDB's casts alone would read ``1_000``, ``0x10`` or ``epoch`` in ways nobody meant. The patterns
are written in what RE2 (https://github.com/google/re2/wiki/Syntax) and Python's ``re`` share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from trainbox.workers.ingest_request import ColumnType
from trainbox.workers.staging import literal

GAPS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""Texts that mean "missing", quoted or not, with or without blanks around them."""

BLANKS = " \t\r\n"

_INTEGER = r"[+-]?(0|[1-9][0-9]*)"
_EXPONENT = r"([eE][+-]?[0-9]+)?"
_NUMBER = rf"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+){_EXPONENT}"
_DOTTED = r"[1-9][0-9]{0,2}(\.[0-9]{3})+"
_COMMA = rf"[+-]?((0|[1-9][0-9]*)(,[0-9]+)?{_EXPONENT}|{_DOTTED}(,[0-9]+)?)"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ZONE = r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_STAMP = rf"{_DATE}([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]+)?)?({_ZONE})?)?"

_SPACED = r"regexp_replace(trim(@, E' \t\r\n'), ' ([+Z-])', '\1')"
_BLANK = r"contains(@, ' ') OR @ < '!' OR suffix(@, E'\t') OR suffix(@, E'\r') OR suffix(@, E'\n')"
_STAMP_CAST = f"TRY_CAST(CASE WHEN {_BLANK} THEN {_SPACED} ELSE @ END AS TIMESTAMPTZ)"
_COMMA_CAST = "TRY_CAST(replace(replace(@, '.', ''), ',', '.') AS DOUBLE)"


@dataclass(frozen=True)
class Rule:
    """One type a text may have.

    Attributes:
        pattern: what the text, without blanks around it, matches whole.
        cast: SQL over ``@``, the text with its blanks: the value, NULL where there is none.
        holds: SQL over ``@``: what else is true of the value.
    """

    name: str
    type: ColumnType
    sql_type: str
    pattern: str
    cast: str
    holds: str = ""

    @cached_property
    def matcher(self) -> re.Pattern[str]:
        """The pattern, for Python."""
        return re.compile(self.pattern)

    def test(self, column: str) -> str:
        """Return SQL that says whether a present value has this type."""
        holds = (self.holds or f"{self.cast} IS NOT NULL").replace("@", column)
        return f"({matches(column, self.pattern)} AND coalesce({holds}, false))"


def matches(column: str, pattern: str) -> str:
    """Return SQL that matches a text, without blanks around it, whole.

    The blanks are part of the pattern: taking them off first would cost more than the match.
    """
    return f"regexp_full_match({column}, {literal(f'[{BLANKS}]*(?:{pattern})[{BLANKS}]*')})"


_GAP = "|".join(filter(None, GAPS))
PADDED_GAP = f"[{BLANKS}]+(?:{_GAP})?[{BLANKS}]*|(?:{_GAP})[{BLANKS}]+"
"""A gap with blanks around it, which DuckDB's ``nullstr`` does not know."""


INTEGER = Rule("integer", "number", "BIGINT", _INTEGER, "TRY_CAST(@ AS BIGINT)")
NUMBER = Rule(
    "number",
    "number",
    "DOUBLE",
    _NUMBER,
    "TRY_CAST(@ AS DOUBLE)",
    "isfinite(TRY_CAST(@ AS DOUBLE))",
)
COMMA = Rule("comma", "number", "DOUBLE", _COMMA, _COMMA_CAST, f"isfinite({_COMMA_CAST})")
DATE = Rule("date", "datetime", "DATE", _DATE, "TRY_CAST(@ AS DATE)")
STAMP = Rule(
    "stamp",
    "datetime",
    "TIMESTAMP",
    _STAMP,
    f"CAST(timezone('UTC', {_STAMP_CAST}) AS TIMESTAMP)",
)
BOOLEAN = Rule(
    "boolean",
    "boolean",
    "BOOLEAN",
    "([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])",
    "TRY_CAST(trim(@, E' \\t\\r\\n') AS BOOLEAN)",
)
STRING = Rule("string", "string", "VARCHAR", ".*", "@")

RULES = (BOOLEAN, INTEGER, NUMBER, COMMA, DATE, STAMP)
"""Narrow rules stand before the wider ones of their kind: the first that all values follow wins."""

HUGE_INTEGER, FRACTION, DOTS = "huge integer", "fraction", "dots"
THOUSANDS, ZONE = "thousands", "zone"
LEADING_ZERO = re.compile(r"[+-]?0[0-9]+([.,][0-9]*)?")
"""A number but for its leading zeros: an identifier, more often than not."""

_ZONED = rf".*[T ].*{_ZONE}"

SIGNS: Mapping[Rule, Mapping[str, str]] = {
    NUMBER: {
        HUGE_INTEGER: f"{matches('@', _INTEGER)} AND TRY_CAST(@ AS BIGINT) IS NULL",
        FRACTION: f"NOT {matches('@', _INTEGER)}",
        DOTS: matches("@", rf"[+-]?{_DOTTED}"),
    },
    COMMA: {THOUSANDS: matches("@", r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")},
    STAMP: {ZONE: matches("@", _ZONED)},
}
"""Further counts, as SQL over ``@``, that decide between rules or are worth a warning."""

OTHER_DATE = re.compile(r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}( .*)?")


Problem = tuple[str, str, str]
"""Rule, what is wrong, hint."""


@dataclass(frozen=True)
class Expected:
    """What the uploader said a column holds; checked value by value.

    Attributes:
        type: of its values; gaps are always allowed.
        comma: whether numbers may have a decimal comma.
    """

    type: ColumnType
    comma: bool = False

    def problem(self, text: str) -> Problem | None:
        """Return what is wrong with a text, None if nothing."""
        value = text.strip(BLANKS)
        if self.type == "string" or value in GAPS:
            return None
        if self.type == "number":
            return self._number(value)
        if self.type == "boolean":
            if BOOLEAN.matcher.fullmatch(value):
                return None
            return "not_a_boolean", "not a boolean", "write true or false"
        if STAMP.matcher.fullmatch(value) and _in_calendar(value):
            return None
        return "not_a_datetime", "not a date or time", "write it as 2024-12-31T10:00:00"

    def _number(self, value: str) -> Problem | None:
        if NUMBER.matcher.fullmatch(value):
            number = value
        elif self.comma and COMMA.matcher.fullmatch(value):
            number = value.replace(".", "").replace(",", ".")
        elif LEADING_ZERO.fullmatch(value):
            hint = "declare the column as string, or write it without leading zeros"
            return "leading_zero", "a number with a leading zero", hint
        else:
            return "not_a_number", "not a number", "write it as -1234.5, or leave it empty"
        if math.isfinite(float(number)):
            return None
        hint = "a double reaches from -1.8e308 to 1.8e308"
        return "number_out_of_range", "a number out of range", hint


def _in_calendar(value: str) -> bool:
    try:
        datetime.fromisoformat(value.replace(" ", "T", 1).replace(" ", ""))
    except ValueError:
        return False
    return True
