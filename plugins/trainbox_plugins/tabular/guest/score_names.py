"""Which scores each task knows, and which way is better.

Standard library only: the daemon reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Task = Literal["regression", "binclass", "multiclass"]
Direction = Literal["minimize", "maximize"]

SCORES: Mapping[Task, Mapping[str, Direction]] = {
    "regression": {"rmse": "minimize", "mae": "minimize", "r2": "maximize"},
    "binclass": {
        "auc": "maximize",
        "logloss": "minimize",
        "accuracy": "maximize",
        "f1": "maximize",
    },
    "multiclass": {"logloss": "minimize", "accuracy": "maximize", "f1_macro": "maximize"},
}
"""Task to score name to direction; the first score of a task is its default."""


def default_score(task: Task) -> str:
    """Return the score a task is searched by if none is asked for."""
    return next(iter(SCORES[task]))
