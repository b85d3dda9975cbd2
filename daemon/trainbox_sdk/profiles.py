"""What reading a dataset found out about it: facts of each column, warnings, hints of leakage.

:func:`profile_to_json` and :func:`profile_from_json` are how a profile is kept as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from trainbox_sdk.artifacts import Column, ColumnType

WarningRule = Literal[
    "all_missing",
    "constant",
    "duplicate_columns",
    "duplicate_rows",
    "id_like",
    "leading_zeros",
    "mixed_types",
    "near_duplicate_columns",
    "not_checked",
    "reading",
]
"""What a :class:`DataWarning` is about; ``reading`` is a note on how values were understood, and
``not_checked`` names a check the data is too large for."""

LeakRule = Literal["copy_of_target", "determines_target", "missing_tells_target"]


@dataclass(frozen=True)
class TopValue:
    """A frequent value.

    Attributes:
        value: as a JSON scalar; long texts are cut as in :class:`~trainbox_sdk.artifacts.Column`.
        count: rows that hold it.
    """

    value: Any
    count: int


@dataclass(frozen=True)
class NumberFacts:
    """How a column of numbers is spread; missing values are left out.

    Attributes:
        mean: arithmetic mean; None where the sum leaves the range of a double.
        std: sample standard deviation; None for fewer than two values or out of range.
        zeros: values equal to 0.
        negatives: values below 0.
        quantiles: estimated (t-digest) by probability, written as ``0.5``.
    """

    mean: float | None
    std: float | None
    zeros: int
    negatives: int
    quantiles: Mapping[str, float]


@dataclass(frozen=True)
class TextFacts:
    """How long a column's texts are, in characters."""

    shortest: int
    longest: int


@dataclass(frozen=True)
class ColumnProfile:
    """One column: what :class:`~trainbox_sdk.artifacts.Column` has, and how its values are spread.

    Attributes:
        constant: whether all present values are one and the same.
        top: up to ten of the most frequent values, most frequent first; empty where there are too
            many different ones to count, and for numbers with more than ten.
        numbers: for columns of numbers with values.
        texts: for columns of strings with values.
    """

    column: Column
    constant: bool
    top: tuple[TopValue, ...] = ()
    numbers: NumberFacts | None = None
    texts: TextFacts | None = None


@dataclass(frozen=True)
class DataWarning:
    """Something about the data that a person should know before training.

    Attributes:
        rule: stable word.
        message: one sentence.
        columns: those it is about; empty where it is about rows.
        hint: what to do, empty where there is nothing to add.
    """

    rule: WarningRule
    message: str
    columns: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class DatasetProfile:
    """A dataset as a whole.

    Attributes:
        rows: of data.
        columns: in the order of the data.
        duplicate_rows: rows that are the same as an earlier one; None where not counted.
        warnings: in the order of the columns they are about.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
    duplicate_rows: int | None = None
    warnings: tuple[DataWarning, ...] = ()


@dataclass(frozen=True)
class Leak:
    """A column that knows the target, on the rows looked at.

    Attributes:
        column: which.
        rule: ``copy_of_target``: equal to it, or a straight line of it; ``determines_target``: its
            value alone gives the target's; ``missing_tells_target``: whether it is missing does.
        score: share of the target explained, 0 to 1: of the rows predicted rightly for classes, of
            the variance for numbers.
        message: one sentence.
    """

    column: str
    rule: LeakRule
    score: float
    message: str


@dataclass(frozen=True)
class TargetProfile:
    """A dataset looked at for the sake of one column.

    Attributes:
        target: the column to be predicted.
        rows_checked: rows with a target that were looked at, from the start of the data.
        classes: share of each class, most frequent first; empty for a target of numbers with many
            values.
        leaks: suspicious columns, worst first.
        warnings: on the target itself, such as that it is constant.
    """

    target: str
    rows_checked: int
    classes: tuple[TopValue, ...] = ()
    leaks: tuple[Leak, ...] = ()
    warnings: tuple[DataWarning, ...] = field(default=())


def profile_to_json(profile: DatasetProfile) -> str:
    """Return a profile as compact JSON text."""
    return json.dumps(asdict(profile), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def profile_from_json(text: str) -> DatasetProfile:
    """Return what :func:`profile_to_json` wrote."""
    return profile_of(json.loads(text))


def profile_of(data: Mapping[str, Any]) -> DatasetProfile:
    """Return the profile that :func:`dataclasses.asdict` made into plain data."""
    return DatasetProfile(
        rows=data["rows"],
        columns=tuple(map(_column, data["columns"])),
        duplicate_rows=data["duplicate_rows"],
        warnings=tuple(map(_warning, data["warnings"])),
    )


def target_profile_of(data: Mapping[str, Any]) -> TargetProfile:
    """Likewise for a :class:`TargetProfile`."""
    return TargetProfile(
        target=data["target"],
        rows_checked=data["rows_checked"],
        classes=tuple(TopValue(**each) for each in data["classes"]),
        leaks=tuple(Leak(**each) for each in data["leaks"]),
        warnings=tuple(map(_warning, data["warnings"])),
    )


def _column(data: Mapping[str, Any]) -> ColumnProfile:
    column = data["column"]
    numbers, texts = data["numbers"], data["texts"]
    return ColumnProfile(
        column=Column(**{**column, "examples": tuple(column["examples"])}),
        constant=data["constant"],
        top=tuple(TopValue(**each) for each in data["top"]),
        numbers=None if numbers is None else NumberFacts(**numbers),
        texts=None if texts is None else TextFacts(**texts),
    )


def _warning(data: Mapping[str, Any]) -> DataWarning:
    return DataWarning(**{**data, "columns": tuple(data["columns"])})


__all__ = [
    "Column",
    "ColumnProfile",
    "ColumnType",
    "DataWarning",
    "DatasetProfile",
    "Leak",
    "NumberFacts",
    "TargetProfile",
    "TextFacts",
    "TopValue",
    "profile_from_json",
    "profile_of",
    "profile_to_json",
    "target_profile_of",
]
