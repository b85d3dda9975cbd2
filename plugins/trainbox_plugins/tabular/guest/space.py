"""Where the search looks for hyper-parameters.

The ranges are those of TabArena's published CatBoost space, widened for small data; the number of
trees is never searched but found by early stopping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SMALL = 500
_WIDE = 50

CATBOOST_DEFAULTS: Mapping[str, Any] = {
    "learning_rate": 0.03,
    "depth": 6,
    "l2_leaf_reg": 3.0,
    "subsample": 0.8,
    "rsm": 1.0,
    "leaf_estimation_iterations": 1,
    "one_hot_max_size": 8,
    "max_ctr_complexity": 4,
    "model_size_reg": 0.5,
    "grow_policy": "SymmetricTree",
}
"""Where the first trial stands in the space, for the sampler; CatBoost itself gets no values."""


@dataclass(frozen=True)
class Parameter:
    """One dimension: a range of numbers, or choices."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    choices: tuple[str, ...] = ()

    def suggest(self, trial: Any) -> Any:
        """Draw a value from an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, list(self.choices))
        if self.integer:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def default(self) -> Any:
        """Return CatBoost's default, moved to the nearest value the dimension has."""
        value = CATBOOST_DEFAULTS[self.name]
        return value if self.choices else min(max(value, self.low), self.high)


def search_space(
    *, rows: int, features: int, categoricals: int, max_ctr_complexity: int, loss: str, gpu: bool
) -> list[Parameter]:
    """Return the dimensions that make sense for this data.

    Args:
        rows: rows that trials train on.
        features: model features.
        categoricals: how many of them are categorical.
        max_ctr_complexity: the user's limit.
        loss: CatBoost's loss function.
        gpu: whether training runs on a GPU, which lacks some options.
    """
    small = rows < _SMALL
    space = [
        Parameter("learning_rate", 5e-3, 0.2, log=True),
        Parameter("depth", 3 if small else 4, 6 if small else 8, integer=True),
        Parameter("l2_leaf_reg", 1e-4, 30.0 if small else 5.0, log=True),
        Parameter("subsample", 0.7, 1.0),
        Parameter("grow_policy", choices=("SymmetricTree", "Depthwise")),
    ]
    if not gpu:
        space.append(Parameter("rsm", 0.4 if features > _WIDE else 0.85, 1.0))
    if loss != "MAE":  # whose leaves are exact medians, found in one step
        space.append(Parameter("leaf_estimation_iterations", 1, 20, log=True, integer=True))
    if categoricals:
        space += [
            Parameter("one_hot_max_size", 8, 100, log=True, integer=True),
            Parameter("model_size_reg", 0.1, 1.5, log=True),
        ]
        if max_ctr_complexity > 1:
            space.append(Parameter("max_ctr_complexity", 1, max_ctr_complexity, integer=True))
    return space


def suggest(trial: Any, space: Sequence[Parameter]) -> dict[str, Any]:
    """Draw one setting."""
    return {parameter.name: parameter.suggest(trial) for parameter in space}


def defaults(space: Sequence[Parameter]) -> dict[str, Any]:
    """Return the point of the space nearest to CatBoost's defaults."""
    return {parameter.name: parameter.default() for parameter in space}
