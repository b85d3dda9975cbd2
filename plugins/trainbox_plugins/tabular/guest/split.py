"""Which rows train, which score, and which nobody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]
"""Rows to train on, rows to score on."""


def hold_out(
    codes: Rows | None, count: int, fraction: float, random: np.random.Generator, *, keep: int = 2
) -> Fold:
    """Part the rows once, class by class.

    Args:
        codes: class codes [N], None for regression.
        count: N.
        fraction: share of the rows in the second part, at least one row of every class that has
            more than ``keep``.
        random: source of the shuffle.
        keep: how many rows of every class must stay in the first part; a class with no more than
            these gives none away.

    Returns:
        Rows that stay and rows held back, both ascending.
    """
    held = [
        rows[: _share(len(rows), fraction, keep)]
        for rows in _shuffled_classes(codes, count, random)
    ]
    away = np.sort(np.concatenate(held))
    stay = np.setdiff1d(np.arange(count), away, assume_unique=True)
    return stay, away


def make_folds(
    codes: Rows | None, count: int, validation: Mapping[str, Any], random: np.random.Generator
) -> list[Fold]:
    """Part the rows for scoring trials, as the ``validation`` parameter says.

    A class with a single row always trains. With k-fold there are never more folds than half the
    rows.
    """
    if validation["kind"] == "holdout":
        return [hold_out(codes, count, float(validation["fraction"]), random, keep=1)]
    folds = max(2, min(int(validation["folds"]), count // 2))
    number = np.full(count, -1, np.int64)
    dealt = 0
    for rows in _shuffled_classes(codes, count, random):
        if len(rows) > 1:
            number[rows] = (dealt + np.arange(len(rows))) % folds
            dealt += len(rows)
    return [
        (np.flatnonzero(number != fold), np.flatnonzero(number == fold)) for fold in range(folds)
    ]


def _share(count: int, fraction: float, keep: int) -> int:
    return max(0, min(max(1, round(count * fraction)), count - keep))


def _shuffled_classes(
    codes: Rows | None, count: int, random: np.random.Generator
) -> Iterator[Rows]:
    if codes is None:
        yield random.permutation(count)
        return
    for code in np.unique(codes):
        yield random.permutation(np.flatnonzero(codes == code))
