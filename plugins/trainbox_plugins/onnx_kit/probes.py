"""Rows that visit the weak spots of every column: what a converted model gets wrong first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainbox_plugins.onnx_kit import calendar_features
from trainbox_plugins.onnx_kit.columns import Column, Table, row_count, take

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

UNSEEN_CATEGORY = "\u2403never in training\u2403"
MAX_BORDER_PROBES = 12_000
MAX_CELLS = 20_000_000
"""Changed rows times columns; beyond it a row carries the changes of several columns."""
SEVERAL = "several"
_BORDER_REPEATS = 4

_NUMBERS = (
    ("missing", np.nan),
    ("extreme", 3e38), ("extreme", -3e38), ("extreme", np.inf), ("extreme", -np.inf),
    ("zero", 0.0), ("zero", -0.0),
)  # fmt: skip
_BOOLEANS = (("missing", np.nan), ("boolean", 0.0), ("boolean", 1.0))
_STRINGS = (
    ("missing", ""),
    ("unseen_category", UNSEEN_CATEGORY),
    ("blank", " "),
    ("long_string", "x" * 5000),
)
_DATETIMES = (
    ("missing", calendar_features.MISSING),
    ("epoch", 0), ("epoch", -1),
    ("leap_day", 951_782_400),  # 2000-02-29
    ("leap_day", -2_203_891_200),  # 1900-03-01, of a year that has none
    ("leap_day", 4_107_542_399),  # 2100-02-28T23:59:59, likewise
    ("extreme", calendar_features.EARLIEST), ("extreme", calendar_features.EARLIEST - 1),
    ("extreme", calendar_features.LATEST), ("extreme", calendar_features.LATEST + 1),
    ("extreme", calendar_features.MISSING + 1), ("extreme", 2**63 - 1),
)  # fmt: skip

_SPECIAL: Mapping[str, Sequence[tuple[str, Any]]] = {
    "number": _NUMBERS,
    "boolean": _BOOLEANS,
    "string": _STRINGS,
    "datetime": _DATETIMES,
}


@dataclass(frozen=True)
class Probes:
    """Rows to compare on.

    Attributes:
        kinds: why each row is there; ``several`` where a row carries more than one change.
        counts: how many probes there are of each kind.
    """

    table: Table
    kinds: tuple[str, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class _Change:
    kind: str
    column: str
    value: Any


def build_probes(
    columns: Sequence[Column],
    rows: Table,
    *,
    borders: Mapping[str, Sequence[float]],
    sample: int = 1000,
    seed: int = 0,
) -> Probes:
    """Make real rows, recombined ones, and real ones with one change.

    Args:
        columns: the graph's inputs.
        rows: real rows, at least one; those the model never saw are best.
        borders: thresholds the model compares a column with, float32 values; each is visited
            exactly, one float32 step above and one below.
        sample: how many recombined rows to make, and the most real ones to take.
        seed: of the choice of rows.

    Raises:
        ValueError: no rows.
    """
    count = row_count(rows)
    if not count:
        raise ValueError("probes need at least one real row")
    random = np.random.default_rng(seed)
    real = random.permutation(count)[:sample]
    changes = [*_special_changes(columns), *_border_changes(borders)]
    changes.sort(key=lambda change: change.column)
    # Each column drawn apart: combinations no real row has, and so leaves no real row reaches.
    mixed = {c.name: rows[c.name][random.integers(0, count, sample)] for c in columns}
    size = _changed_rows(changes, len(columns))
    changed = _apply(take(rows, random.integers(0, count, size)), changes, size)
    gone = {c.name: _constant(c, rows[c.name].dtype) for c in columns}
    parts = [take(rows, real), mixed, changed, gone]
    kinds = ["real"] * len(real) + ["recombined"] * sample
    reasons = [*kinds, *(change.kind for change in changes), "all_missing"]
    one_each = size == len(changes)
    kinds += [change.kind if one_each else SEVERAL for change in changes[:size]] + ["all_missing"]
    table = {c.name: np.concatenate([part[c.name] for part in parts]) for c in columns}
    return Probes(table, tuple(kinds), dict(Counter(reasons)))


def _constant(column: Column, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray([_SPECIAL[column.kind][0][1]], dtype=dtype)


def _special_changes(columns: Sequence[Column]) -> Iterator[_Change]:
    for column in columns:
        for kind, value in _SPECIAL[column.kind]:
            yield _Change(kind, column.name, value)


def _border_changes(borders: Mapping[str, Sequence[float]]) -> Iterator[_Change]:
    total = sum(len(values) for values in borders.values())
    # Several base rows per border: in one row a neighbouring split can hide a moved border.
    repeats = max(1, min(_BORDER_REPEATS, MAX_BORDER_PROBES // max(3 * total, 1)))
    stride = max(1, -(-3 * total // MAX_BORDER_PROBES))
    for name, values in borders.items():
        for border in np.asarray(values, np.float32)[::stride]:
            with np.errstate(over="ignore"):  # CatBoost marks missing values by the lowest float
                above = np.nextafter(border, np.float32(np.inf))
                below = np.nextafter(border, np.float32(-np.inf))
            for _ in range(repeats):
                yield _Change("border", name, border)
                yield _Change("border_above", name, above)
                yield _Change("border_below", name, below)


def _changed_rows(changes: Sequence[_Change], columns: int) -> int:
    """Return how many rows carry the changes: one each, or fewer where the table is very wide."""
    together = max(1, -(-len(changes) * columns // MAX_CELLS))
    most = max(Counter(change.column for change in changes).values())
    return max(-(-len(changes) // together), most)


def _apply(
    table: dict[str, NDArray[Any]], changes: Sequence[_Change], size: int
) -> dict[str, NDArray[Any]]:
    # A column's changes follow one another and are no more than the rows, so that going round
    # never puts two of them into one row.
    for index, change in enumerate(changes):
        table[change.column][index % size] = change.value
    return table
