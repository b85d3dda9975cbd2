"""Parameters, demands and plan of the task; nothing here is imported in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.errors import FieldError
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import Output, Plan, StepPlan, TaskType

ENVIRONMENT = "baseline"
FEWEST_ROWS = 5


class Params(BaseModel):
    """What a caller may set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str = Field(min_length=1, description="The numeric column to predict.")
    statistic: Literal["mean", "median"] = Field(
        default="mean", description="What is predicted: the target's mean or its median."
    )
    by: str | None = Field(
        default=None,
        description="A text column; each of its values gets its own prediction. Values never seen, "
        "and gaps, get that of all rows.",
    )


class Baseline(TaskType):
    """Predict the mean or median of the target: the number that a real model has to beat."""

    name = "baseline"
    title = "Baseline regression"
    Params = Params
    resources = Resources(cpus=1.0, memory_bytes=1024**3, timeout_s=600.0)

    def __init__(self, *, most_groups: int = 1000) -> None:
        self._most_groups = most_groups

    def validate(self, params: BaseModel, dataset: DatasetView | None) -> Sequence[FieldError]:
        assert isinstance(params, Params)
        assert dataset is not None
        return list(self._problems(params, dataset))

    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        train = StepPlan(
            name="train",
            entry="trainbox_baseline.guest:main",
            packages=("trainbox_baseline.guest",),
            environment=ENVIRONMENT,
            params=params.model_dump(mode="json"),
            outputs=(
                Output("model.onnx", kind="model", check="onnx", media_type="application/onnx"),
            ),
        )
        return Plan((train,))

    def _problems(self, params: Params, dataset: DatasetView) -> Iterator[FieldError]:
        target = dataset.column(params.target)
        if target is None:
            names = ", ".join(column.name for column in dataset.columns)
            yield FieldError(
                ("params", "target"),
                f"there is no column {params.target!r}",
                f"columns are {names}",
            )
        elif target.type != "number":
            yield FieldError(("params", "target"), f"{params.target!r} is a {target.type} column")
        elif dataset.rows - target.missing < FEWEST_ROWS:
            yield FieldError(
                ("params", "target"),
                f"{params.target!r} has fewer than {FEWEST_ROWS} values",
                "a baseline needs a few rows to be scored on",
            )
        if len(dataset.columns) < 2:
            yield FieldError(
                ("dataset",), "the dataset has one column", "a model needs at least one other input"
            )
        if params.by is not None:
            yield from self._group_problems(params, dataset)

    def _group_problems(self, params: Params, dataset: DatasetView) -> Iterator[FieldError]:
        assert params.by is not None
        by = dataset.column(params.by)
        if by is None:
            yield FieldError(("params", "by"), f"there is no column {params.by!r}")
        elif by.type != "string" or params.by == params.target:
            yield FieldError(("params", "by"), f"{params.by!r} is no text column to group by")
        elif by.distinct > self._most_groups:
            yield FieldError(
                ("params", "by"),
                f"{params.by!r} has {by.distinct} groups, the limit is {self._most_groups}",
                "group by a coarser column, or raise most_groups in plugins.toml",
            )
