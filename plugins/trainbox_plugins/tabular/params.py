"""The hyper-parameters of the tabular tasks, as the daemon validates and documents them.

Imports pydantic and the standard library only: the daemon reads this without the training stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

ColumnName = Annotated[str, Field(min_length=1, max_length=255)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HoldoutValidation(_Strict):
    """One validation part, the same for every trial: fast."""

    kind: Literal["holdout"] = "holdout"
    fraction: float = Field(
        default=0.2,
        ge=0.05,
        le=0.5,
        title="Validation fraction",
        description="Share of the rows outside the holdout that trials are scored on.",
    )


class KFoldValidation(_Strict):
    """Cross-validation: every row is scored once per trial; slower, steadier on small data."""

    kind: Literal["kfold"]
    folds: int = Field(default=5, ge=2, le=10, title="Folds", description="Number of parts.")


Validation = Annotated[HoldoutValidation | KFoldValidation, Field(discriminator="kind")]


class TabularParams(_Strict):
    """What all tabular tasks share."""

    target: ColumnName = Field(
        title="Target column",
        description="The column to predict. Rows without a target are left out and counted.",
    )
    features: list[ColumnName] | None = Field(
        default=None,
        min_length=1,
        max_length=5000,
        title="Feature columns",
        description="The columns to predict from; null takes all but target, weight and ignored.",
    )
    ignore: list[ColumnName] = Field(
        default_factory=list,
        max_length=5000,
        title="Ignored columns",
        description="Columns to leave out, such as identifiers or facts known only afterwards.",
    )
    sample_weight: ColumnName | None = Field(
        default=None,
        title="Weight column",
        description="A numeric column, zero or more and never missing, that weighs the rows in "
        "training and in every score. It is not a feature.",
    )
    trials: int = Field(
        default=20,
        ge=1,
        le=200,
        title="Trials",
        description="How many hyper-parameter settings to try. The first is CatBoost's defaults.",
    )
    time_budget_s: float | None = Field(
        default=None,
        ge=1,
        le=30 * 24 * 3600,
        title="Time budget (s)",
        description="No new trial starts after this many seconds of search; the one running is "
        "finished and the best is trained and exported. At least one trial runs.",
    )
    max_iterations: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        title="Most trees",
        description="Upper limit of trees per model; the number is found by early stopping.",
    )
    early_stopping_rounds: int = Field(
        default=50,
        ge=1,
        le=1000,
        title="Early stopping rounds",
        description="A trial stops after this many trees without a better validation loss.",
    )
    max_ctr_complexity: int = Field(
        default=4,
        ge=1,
        le=5,
        title="Most categories combined",
        description="How many categorical columns may be combined into one feature. 1 gives the "
        "smallest and fastest model, at a small cost in quality.",
    )
    validation: Validation = Field(
        default_factory=HoldoutValidation,
        title="Validation",
        description="How trials are scored. Parts keep the classes' shares.",
    )
    holdout_fraction: float = Field(
        default=0.2,
        ge=0.05,
        le=0.5,
        title="Holdout fraction",
        description="Share of the rows that neither search nor early stopping ever sees; the "
        "reported metrics come from them. The final model is then trained on all rows.",
    )
    pruning: bool = Field(
        default=True,
        title="Pruning",
        description="With kfold, give a trial up after a fold if it is worse than the median of "
        "earlier trials. A pruned trial counts as a trial.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Of splits, search and training; the same seed, data and limits give the same "
        "model, unless a time budget ends the search.",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        default="auto",
        title="Device",
        description="auto takes a GPU where the sandbox has one, gpu insists on it.",
    )

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Self:
        problems = [
            InitErrorDetails(
                type=PydanticCustomError("column_role", "{problem}", {"problem": problem}),
                loc=(field,),
                input=getattr(self, field),
            )
            for field, problem in self._role_problems()
        ]
        if problems:
            # A ValueError would be told as one of the whole document, not of the field at fault.
            raise ValidationError.from_exception_data(type(self).__name__, problems)
        return self

    def _role_problems(self) -> Iterator[tuple[str, str]]:
        features = self.features or []
        twice = [name for name, count in Counter(features).items() if count > 1]
        if twice:
            yield "features", f"column {twice[0]!r} is listed twice"
        for role in ("target", "sample_weight"):
            name = getattr(self, role)
            if name is not None and name in features:
                yield "features", f"column {name!r} is the {role} column"
        both = sorted(set(features) & set(self.ignore))
        if both:
            yield "features", f"column {both[0]!r} is in ignore too"
        if self.target in self.ignore:
            yield "ignore", f"column {self.target!r} is the target column"
        if self.target == self.sample_weight:
            yield "sample_weight", f"column {self.target!r} is the target column"


class RegressionParams(TabularParams):
    """Predict a number."""

    metric: Literal["rmse", "mae", "r2"] = Field(
        default="rmse",
        title="Metric",
        description="What trials are compared by. mae also trains for the absolute error.",
    )


class BinclassParams(TabularParams):
    """Predict which of exactly two classes."""

    metric: Literal["auc", "logloss", "accuracy", "f1"] = Field(
        default="auc",
        title="Metric",
        description="What trials are compared by. f1 is that of the second class in sorted order.",
    )


class MulticlassParams(TabularParams):
    """Predict which of three or more classes."""

    metric: Literal["logloss", "accuracy", "f1_macro"] = Field(
        default="logloss", title="Metric", description="What trials are compared by."
    )
