"""Regression, binary and multi-class classification on raw mixed columns, as task types."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from trainbox_plugins.tabular.features import feature_errors, largest, one_in_float32
from trainbox_plugins.tabular.params import (
    BinclassParams,
    MulticlassParams,
    RegressionParams,
    TabularParams,
)
from trainbox_sdk import hookimpl
from trainbox_sdk.artifacts import Column, DatasetView
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import FieldError
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import Output, Plan, StepPlan, TaskType

GIB = 1024**3
ENVIRONMENT = "tabular"
MIN_ROWS = 10
MAX_CLASSES = 200
LARGEST_TARGET = 1e30
"""CatBoost keeps targets and leaves in float32; beyond this its sums come near infinity."""

TABULAR = Environment(
    name=ENVIRONMENT,
    python="3.11",
    requirements=Path(__file__).parent / "environment" / "requirements.lock",
    system_packages=("libgomp1",),
    warm_imports=("catboost", "optuna", "onnx", "onnxruntime", "duckdb"),
)

MODEL = Output(
    name="model.onnx",
    kind="model",
    max_bytes=2 * GIB,
    media_type="application/onnx",
    check="onnx",
)


class _Tabular(TaskType):
    """What the three tasks share: one step that searches, trains, exports and checks."""

    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_bytes=2 * GIB, timeout_s=3600.0)

    def validate(self, params: BaseModel, dataset: DatasetView | None) -> Sequence[FieldError]:
        """Return what is wrong with these columns for this task."""
        assert isinstance(params, TabularParams)
        assert dataset is not None
        unknown = list(_unknown_columns(params, dataset))
        if unknown:
            return unknown
        empty = _column(dataset, params.target).distinct == 0
        return [
            *self._row_errors(dataset),
            *_target_errors(params, dataset),
            # An empty column has no type of its own: what it seems to hold says nothing.
            *(() if empty else self._class_errors(params, dataset)),
            *_weight_errors(params, dataset),
            *feature_errors(params, dataset),
        ]

    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        """Return the single training step."""
        del dataset
        return Plan(
            steps=(
                StepPlan(
                    name="train",
                    entry="trainbox_plugins.tabular.guest.main:main",
                    packages=("trainbox_plugins.tabular.guest", "trainbox_plugins.onnx_kit"),
                    environment=ENVIRONMENT,
                    params=params.model_dump(mode="json"),
                    outputs=(MODEL,),
                ),
            )
        )

    def _row_errors(self, dataset: DatasetView) -> Iterator[FieldError]:
        if dataset.rows < MIN_ROWS:
            yield FieldError(
                ("dataset",), f"has {dataset.rows} rows", f"at least {MIN_ROWS} are needed"
            )

    def _class_errors(self, params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
        del params, dataset
        yield from ()


class Regression(_Tabular):
    """Predict a number from mixed columns.

    CatBoost tuned by Optuna; the artifact is one ONNX graph from raw columns to the prediction.
    """

    name = "regression"
    title = "Regression"
    Params = RegressionParams

    def _class_errors(self, params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
        target = _column(dataset, params.target)
        if target.type != "number":
            yield FieldError(
                ("params", "target"),
                f"column {target.name!r} holds {target.type} values, regression needs numbers",
                "choose a numeric column, or use binclass or multiclass",
            )
        else:
            yield from _range_errors(target)


class Binclass(_Tabular):
    """Predict which of two classes, with probabilities, from mixed columns.

    CatBoost tuned by Optuna; the artifact is one ONNX graph from raw columns to the label.
    """

    name = "binclass"
    title = "Binary classification"
    Params = BinclassParams

    def _class_errors(self, params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
        target = _column(dataset, params.target)
        if target.distinct > 2:  # noqa: PLR2004 - binary
            yield FieldError(
                ("params", "target"),
                f"column {target.name!r} has {target.distinct} classes, binclass needs exactly 2",
                "use multiclass, or regression for a number",
            )


class Multiclass(_Tabular):
    """Predict which of three or more classes, with probabilities, from mixed columns.

    CatBoost tuned by Optuna; the artifact is one ONNX graph from raw columns to the label.
    """

    name = "multiclass"
    title = "Multi-class classification"
    Params = MulticlassParams

    def _class_errors(self, params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
        target = _column(dataset, params.target)
        if target.distinct == 2:  # noqa: PLR2004 - binary
            yield FieldError(
                ("params", "target"),
                f"column {target.name!r} has 2 classes, multiclass needs at least 3",
                "use binclass",
            )
        if target.distinct > MAX_CLASSES:
            yield FieldError(
                ("params", "target"),
                f"column {target.name!r} has {target.distinct} classes, over {MAX_CLASSES}",
                "choose a column with fewer classes, or use regression for a number",
            )


def _column(dataset: DatasetView, name: str) -> Column:
    found = dataset.column(name)
    assert found is not None, "unknown columns are refused before"
    return found


def _unknown_columns(params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
    known = [column.name for column in dataset.columns]
    for field, names in _roles(params):
        for name in names:
            if name not in known:
                yield FieldError(
                    ("params", field), f"no column {name!r} in this dataset", _nearest(name, known)
                )


def _roles(params: TabularParams) -> Iterator[tuple[str, Iterable[str]]]:
    yield "target", (params.target,)
    yield "features", params.features or ()
    yield "ignore", params.ignore
    yield "sample_weight", (params.sample_weight,) if params.sample_weight else ()


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(known[:20])}"


def _target_errors(params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
    target = _column(dataset, params.target)
    if target.distinct == 0:
        yield FieldError(
            ("params", "target"), f"column {target.name!r} is empty", "choose another column"
        )
    elif target.distinct == 1:
        yield FieldError(
            ("params", "target"),
            f"column {target.name!r} has one value only, so there is nothing to learn",
            "choose another column",
        )
    elif dataset.rows - target.missing < MIN_ROWS <= dataset.rows:
        yield FieldError(
            ("params", "target"),
            f"column {target.name!r} has {dataset.rows - target.missing} values, "
            f"at least {MIN_ROWS} are needed",
            "add rows with a target",
        )


def _weight_errors(params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
    if params.sample_weight is None:
        return
    weight = _column(dataset, params.sample_weight)
    if weight.type != "number":
        yield FieldError(
            ("params", "sample_weight"),
            f"column {weight.name!r} holds {weight.type} values, weights are numbers",
        )
    elif weight.missing:
        yield FieldError(
            ("params", "sample_weight"),
            f"column {weight.name!r} has {weight.missing} gaps",
            "give every row a weight, 0 to leave it out",
        )
    elif weight.min is not None and weight.min < 0:
        yield FieldError(
            ("params", "sample_weight"),
            f"column {weight.name!r} goes down to {weight.min}",
            "weights are 0 or more",
        )
    elif weight.max == 0:
        yield FieldError(
            ("params", "sample_weight"),
            f"column {weight.name!r} is zero everywhere",
            "give some rows a weight above 0",
        )


def _range_errors(target: Column) -> Iterator[FieldError]:
    size = largest(target)
    if size > LARGEST_TARGET:
        yield FieldError(
            ("params", "target"),
            f"column {target.name!r} has values up to {size:g}, too large to train on",
            f"rescale the column: at most {LARGEST_TARGET:g} in size",
        )
    elif target.distinct > 1 and one_in_float32(target):
        yield FieldError(
            ("params", "target"),
            f"column {target.name!r} has one value only once rounded to float32",
            "subtract a constant from the column, such as its mean",
        )


class Plugin:
    """The tabular tasks and their environment."""

    api = 1

    @hookimpl
    def register_tasks(self) -> list[TaskType]:
        """Return the three tasks."""
        return [Regression(), Binclass(), Multiclass()]

    @hookimpl
    def register_environments(self) -> list[Environment]:
        """Return what their guests import."""
        return [TABULAR]
