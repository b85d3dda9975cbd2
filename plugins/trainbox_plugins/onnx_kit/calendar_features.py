"""Calendar parts of a point in time, computed inside the graph from epoch seconds.

A datetime column enters as int64 seconds since 1970-01-01T00:00:00 UTC. Epoch seconds never become
a float32 themselves (its step at today's dates is 128 s); every part below is a small exact
integer. The arithmetic is the proleptic Gregorian calendar over eras of 400 years.

Reference: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (civil_from_days).
"""

from __future__ import annotations

import numpy as np

from trainbox_plugins.onnx_kit.graph import BATCH, GraphBuilder

MISSING = -(2**63)
"""The epoch second that stands for a missing value: int64 has no NaN."""

PARTS = (
    "year", "month", "day", "weekday", "hour", "day_of_year", "day_number", "second_of_day",
)  # fmt: skip
"""Names of the columns :func:`add_calendar` makes. Weekday 0 is Monday, day 0 is 1970-01-01."""

EARLIEST = -62_135_596_800
"""0001-01-01T00:00:00; earlier times are taken as this one."""
LATEST = 253_402_300_799
"""9999-12-31T23:59:59; later times are taken as this one."""

_DAY = 86_400
_EPOCH = 719_468  # days from 0000-03-01, where an era begins, to 1970-01-01
_ERA = 146_097  # days in 400 years


def add_calendar(builder: GraphBuilder, seconds: str) -> str:
    """Add the calendar parts of an int64 [N, 1] value.

    Returns:
        Name of a float32 [N, 8] value, columns as :data:`PARTS`, NaN in rows that are missing.
    """
    arithmetic = _Arithmetic(builder)
    bounded = builder.node(
        "Clip",
        seconds,
        builder.constant(np.asarray(EARLIEST, np.int64)),
        builder.constant(np.asarray(LATEST, np.int64)),
    )
    # Counted from an era's start nothing is negative, so truncating division is floor division.
    shifted = arithmetic.add(bounded, _EPOCH * _DAY)
    day, second = arithmetic.divmod(shifted, _DAY)
    date = _add_date(arithmetic, day)
    parts = (
        *date[:3],
        arithmetic.divmod(arithmetic.add(day, 2), 7)[1],
        arithmetic.div(second, 3600),
        date[3],
        arithmetic.add(day, -_EPOCH),
        second,
    )
    known = builder.cast(builder.node("Concat", *parts, axis=1), "float")
    missing = builder.node("Equal", seconds, builder.constant(np.asarray(MISSING, np.int64)))
    return builder.node("Where", missing, builder.constant(np.asarray(np.nan, np.float32)), known)


def calendar_graph() -> bytes:
    """Return a model of :func:`add_calendar` alone: ``seconds`` [N, 1] to ``parts`` [N, 8].

    Training takes its features from this graph, so that they cannot differ from the artifact's.
    """
    builder = GraphBuilder(("seconds", "parts"))
    parts = add_calendar(builder, builder.input("seconds", "int64", (BATCH, 1)))
    builder.output("parts", parts, "float", (BATCH, len(PARTS)))
    return builder.build(producer="onnx_kit", metadata={})


class _Arithmetic:
    """Integer arithmetic with constants, on int64 values that are never negative."""

    def __init__(self, builder: GraphBuilder) -> None:
        self._builder = builder
        self._constants: dict[int, str] = {}

    def _constant(self, value: int) -> str:
        if value not in self._constants:
            self._constants[value] = self._builder.constant(np.asarray(value, np.int64))
        return self._constants[value]

    def _operand(self, value: str | int) -> str:
        return self._constant(value) if isinstance(value, int) else value

    def add(self, left: str, right: str | int) -> str:
        return self._builder.node("Add", left, self._operand(right))

    def sub(self, left: str, right: str | int) -> str:
        return self._builder.node("Sub", left, self._operand(right))

    def mul(self, left: str, right: str | int) -> str:
        return self._builder.node("Mul", left, self._operand(right))

    def div(self, left: str, right: int) -> str:
        return self._builder.node("Div", left, self._operand(right))

    def divmod(self, left: str, right: int) -> tuple[str, str]:
        quotient = self.div(left, right)
        return quotient, self.sub(left, self.mul(quotient, right))

    def at_least(self, left: str, right: int) -> str:
        """Return 1 where ``left >= right``, else 0."""
        truth = self._builder.node("GreaterOrEqual", left, self._operand(right))
        return self._builder.cast(truth, "int64")

    def leap_days(self, years: str) -> str:
        """Return how many leap days the years 1 to ``years`` have."""
        without_centuries = self.sub(self.div(years, 4), self.div(years, 100))
        return self.add(without_centuries, self.div(years, 400))


def _add_date(a: _Arithmetic, day: str) -> tuple[str, str, str, str]:
    """Return year, month, day of the month and day of the year of days since 0000-03-01."""
    era, day_of_era = a.divmod(day, _ERA)
    drift = a.sub(a.div(day_of_era, 1460), a.div(day_of_era, 36_524))
    drift = a.add(drift, a.div(day_of_era, _ERA - 1))
    year_of_era = a.div(a.sub(day_of_era, drift), 365)
    passed = a.sub(a.add(a.mul(year_of_era, 365), a.div(year_of_era, 4)), a.div(year_of_era, 100))
    day_from_march = a.sub(day_of_era, passed)
    month_from_march = a.div(a.add(a.mul(day_from_march, 5), 2), 153)
    first_of_month = a.div(a.add(a.mul(month_from_march, 153), 2), 5)
    day_of_month = a.add(a.sub(day_from_march, first_of_month), 1)
    new_year = a.at_least(month_from_march, 10)  # January and February end a year begun in March
    month = a.sub(a.add(month_from_march, 3), a.mul(new_year, 12))
    year = a.add(a.add(a.mul(era, 400), year_of_era), new_year)
    before = a.add(year, -1)
    new_years_day = a.add(a.add(a.mul(before, 365), a.leap_days(before)), 306)
    day_of_year = a.add(a.sub(day, new_years_day), 1)
    return year, month, day_of_month, day_of_year
