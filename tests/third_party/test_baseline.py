"""The third-party task held to the conformance suite its author would run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from pydantic import BaseModel

from trainbox_baseline.plugin import Config, Plugin
from trainbox_baseline.task import Baseline, Params
from trainbox_sdk.tasks import TaskType
from trainbox_sdk.testing.example_data import write_example
from trainbox_sdk.testing.guest_runs import GuestRun, GuestRunner
from trainbox_sdk.testing.task import Example, TaskContract

CITIES = ["Graz", "Wien", None, "Wien", "", "Graz", "Wien", "Graz", "Linz", None]
PRICES = [10.0, 20.0, 5.0, 24.0, 7.0, 12.0, 22.0, 14.0, 40.0, None]


class TestMean(TaskContract):
    """The plain case, over columns of every type."""

    @pytest.fixture
    def task(self) -> TaskType:
        return Baseline()

    @pytest.fixture
    def example(self) -> Example:
        columns = {"price": PRICES, "city": CITIES, "rooms": list(range(10)), "new": [True] * 10}
        return Example({"target": "price"}, columns, metrics=("rmse", "mae"))


class TestMedianByGroup(TestMean):
    """One prediction per group."""

    @pytest.fixture
    def example(self) -> Example:
        params = {"target": "price", "statistic": "median", "by": "city"}
        return Example(params, {"city": CITIES, "price": PRICES}, metrics=("rmse", "mae"))

    def check_result(self, run: GuestRun, example: Example) -> None:
        super().check_result(run, example)
        session = onnxruntime.InferenceSession(run.output / "model.onnx")
        asked = np.array([["Graz"], ["Wien"], ["Linz"], ["Paris"], [""]], dtype=object)
        (answer,) = session.run(None, {"city": asked})
        assert answer.ravel().tolist() == [12.0, 22.0, 40.0, 14.0, 14.0]
        assert run.result["parity"]["passed"] is True


class TestOnlyGaps(TestMean):
    """A group column without a single value."""

    @pytest.fixture
    def example(self) -> Example:
        columns = {"city": [None] * 6, "price": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
        return Example({"target": "price", "by": "city"}, columns, metrics=("rmse", "mae"))


def problems(
    tmp_path: Path, columns: dict[str, Any], task: Baseline | None = None, **params: Any
) -> Any:
    view = write_example(tmp_path / "data.parquet", columns)
    return (task or Baseline()).validate(Params(**params), view)


@pytest.mark.parametrize(
    ("params", "loc", "said"),
    [
        ({"target": "prise"}, ("params", "target"), "there is no column 'prise'"),
        ({"target": "city"}, ("params", "target"), "is a string column"),
        ({"target": "price", "by": "town"}, ("params", "by"), "there is no column 'town'"),
        ({"target": "price", "by": "rooms"}, ("params", "by"), "is no text column"),
        ({"target": "gaps"}, ("params", "target"), "has fewer than 5 values"),
    ],
)
def test_says_what_is_wrong_with_the_data(
    tmp_path: Path, params: dict[str, str], loc: tuple[str, str], said: str
) -> None:
    columns = {
        "price": PRICES,
        "city": CITIES,
        "rooms": list(range(10)),
        "gaps": [1.0] + [None] * 9,
    }
    (error,) = problems(tmp_path, columns, **params)
    assert error.loc == loc
    assert said in error.msg


def test_the_configured_limit_of_groups_holds(tmp_path: Path) -> None:
    (task,) = Plugin(Config(most_groups=2)).register_tasks()
    columns = {"price": PRICES, "city": CITIES}
    (error,) = problems(tmp_path, columns, task, target="price", by="city")  # type: ignore[arg-type]
    assert "has 4 groups, the limit is 2" in error.msg


def test_a_target_without_a_finite_value_ends_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    view = write_example(path, {"y": [float("nan")] * 6, "x": [1] * 6})
    task = Baseline()
    params: BaseModel = Params(target="y")
    (step,) = task.plan(params, view).steps
    run = GuestRunner(tmp_path / "runs").run(task.name, step, (path, view))
    assert run.exit_code == 65
    assert run.failures[0]["code"] == "no_values"
    assert "model.onnx" not in run.files
