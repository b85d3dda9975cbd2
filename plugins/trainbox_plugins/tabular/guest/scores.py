"""Weighted scores, in float64.

Checked against scikit-learn in the tests; the sandbox does not carry that library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainbox_plugins.tabular.guest.score_names import Task

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def score_all(
    task: Task, truth: Floats | Codes, answer: Floats, weight: Floats
) -> dict[str, float]:
    """Return every score of a task.

    Args:
        task: which scores.
        truth: numbers [N], or class codes [N].
        answer: numbers [N], or probabilities [N, C].
        weight: zero or more, [N].

    Returns:
        Score name to value; NaN where a score is undefined, such as AUC of a single class.
    """
    return {name: compute(truth, answer, weight) for name, compute in _TABLE[task].items()}


def _mean(values: Floats, weight: Floats) -> float:
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else float("nan")


def _rmse(truth: Floats, answer: Floats, weight: Floats) -> float:
    return float(np.sqrt(_mean((truth - answer) ** 2, weight)))


def _mae(truth: Floats, answer: Floats, weight: Floats) -> float:
    return _mean(np.abs(truth - answer), weight)


def _r2(truth: Floats, answer: Floats, weight: Floats) -> float:
    spread = _mean((truth - _mean(truth, weight)) ** 2, weight)
    return 1 - _mean((truth - answer) ** 2, weight) / spread if spread > 0 else float("nan")


def _auc(truth: Codes, answer: Floats, weight: Floats) -> float:
    """Return the weighted share of pairs ranked right, ties counting half (Mann-Whitney)."""
    _, group = np.unique(answer[:, 1], return_inverse=True)
    positive = np.bincount(group, weights=weight * (truth == 1))
    negative = np.bincount(group, weights=weight * (truth == 0))
    pairs = positive.sum() * negative.sum()
    if pairs <= 0:
        return float("nan")
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs)


def _logloss(truth: Codes, answer: Floats, weight: Floats) -> float:
    tiny = np.finfo(np.float64).eps
    chosen = np.clip(answer[np.arange(len(truth)), truth], tiny, 1)
    return _mean(-np.log(chosen), weight)


def _accuracy(truth: Codes, answer: Floats, weight: Floats) -> float:
    return _mean((answer.argmax(axis=1) == truth).astype(np.float64), weight)


def _f1_of(code: int, truth: Codes, guess: Codes, weight: Floats) -> float:
    both = weight[(truth == code) & (guess == code)].sum()
    either = weight[truth == code].sum() + weight[guess == code].sum()
    return float(2 * both / either) if either > 0 else 0.0


def _f1(truth: Codes, answer: Floats, weight: Floats) -> float:
    return _f1_of(1, truth, answer.argmax(axis=1), weight)


def _f1_macro(truth: Codes, answer: Floats, weight: Floats) -> float:
    guess = answer.argmax(axis=1)
    present = np.union1d(truth, guess)
    return float(np.mean([_f1_of(int(code), truth, guess, weight) for code in present]))


_TABLE: Mapping[Task, Mapping[str, Callable[..., float]]] = {
    "regression": {"rmse": _rmse, "mae": _mae, "r2": _r2},
    "binclass": {"auc": _auc, "logloss": _logloss, "accuracy": _accuracy, "f1": _f1},
    "multiclass": {"logloss": _logloss, "accuracy": _accuracy, "f1_macro": _f1_macro},
}
