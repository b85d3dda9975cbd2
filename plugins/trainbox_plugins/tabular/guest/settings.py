"""The parameters as the guest reads them: the daemon has validated them, defaults stand here too.

The guest cannot import the daemon's pydantic models; a test keeps both in step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainbox_guest.run import GuestError
from trainbox_plugins.tabular.guest.score_names import SCORES, Direction, Task, default_score

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Settings:
    """Every knob of a tabular job; see ``tabular.params`` for what they mean."""

    task: Task
    target: str
    metric: str
    features: list[str] | None = None
    ignore: list[str] = field(default_factory=list)
    sample_weight: str | None = None
    trials: int = 20
    time_budget_s: float | None = None
    max_iterations: int = 1000
    early_stopping_rounds: int = 50
    max_ctr_complexity: int = 4
    validation: Mapping[str, Any] = field(
        default_factory=lambda: {"kind": "holdout", "fraction": 0.2}
    )
    holdout_fraction: float = 0.2
    pruning: bool = True
    seed: int = 0
    device: str = "auto"

    @classmethod
    def from_params(cls, task: str, params: Mapping[str, Any]) -> Settings:
        """Read validated parameters.

        Raises:
            GuestError: ``bad_params``: an unknown task, metric or parameter, or no target.
        """
        known: Task | None = next((name for name in SCORES if name == task), None)
        if known is None:
            raise GuestError("bad_params", f"unknown task {task!r}")
        try:
            settings = cls(task=known, **{"metric": default_score(known), **params})
        except TypeError as error:
            raise GuestError("bad_params", f"bad parameters: {error}") from error
        if settings.metric not in SCORES[known]:
            allowed = ", ".join(SCORES[known])
            raise GuestError("bad_params", f"{task} has no metric {settings.metric!r}", allowed)
        return settings

    @property
    def direction(self) -> Direction:
        """Which way the metric is better."""
        return SCORES[self.task][self.metric]

    @property
    def loss(self) -> str:
        """CatBoost's loss function for training."""
        if self.task == "regression":
            return "MAE" if self.metric == "mae" else "RMSE"
        return "Logloss" if self.task == "binclass" else "MultiClass"
