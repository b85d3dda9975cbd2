"""The bundled task types keep what is asked of every stranger's."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from trainbox_plugins.tabular.plugin import Binclass, Multiclass, Regression
from trainbox_sdk.tasks import TaskType
from trainbox_sdk.testing.task import Example, TaskContract

ROWS = 120


def columns(target: list[Any]) -> dict[str, list[Any]]:
    rng = random.Random(5)
    first = datetime(2024, 1, 1)
    gap = [index % 11 == 0 for index in range(ROWS)]
    return {
        "age": [None if gap[i] else rng.uniform(18, 80) for i in range(ROWS)],
        "city": [None if gap[i - 1] else rng.choice(["Graz", "Wien", "Łódź"]) for i in range(ROWS)],
        "new": [None if gap[i - 2] else rng.random() < 0.5 for i in range(ROWS)],
        "seen": [None if gap[i - 3] else first + timedelta(days=i) for i in range(ROWS)],
        "y": target,
    }


class Tabular(TaskContract):
    """The smallest search over columns of every type."""

    kind: ClassVar[type[TaskType]]
    target: ClassVar[list[Any]]
    metrics: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def task(self) -> TaskType:
        return self.kind()

    @pytest.fixture
    def example(self) -> Example:
        params = {"target": "y", "trials": 1, "max_iterations": 10}
        return Example(params, columns(self.target), metrics=self.metrics)


class TestRegression(Tabular):
    kind = Regression
    target: ClassVar[list[Any]] = [float(index % 17) for index in range(ROWS)]
    metrics = ("rmse", "mae", "r2")


class TestBinclass(Tabular):
    kind = Binclass
    target: ClassVar[list[Any]] = [("yes", "no")[index % 2] for index in range(ROWS)]
    metrics = ("auc", "logloss")


class TestMulticlass(Tabular):
    kind = Multiclass
    target: ClassVar[list[Any]] = [index % 3 for index in range(ROWS)]
    metrics = ("accuracy", "logloss")
