"""What the daemon refuses from a dataset's profile alone, before a job is queued."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from trainbox_plugins.tabular.params import RegressionParams
from trainbox_plugins.tabular.plugin import Binclass, Multiclass, Regression
from trainbox_sdk.artifacts import Column, DatasetView

TASKS = {"regression": Regression(), "binclass": Binclass(), "multiclass": Multiclass()}
ROWS = 100


def column(name="x", type_="number", distinct=60, missing=0, low=0.5, high=9.5, *, exact=True):
    return Column(name, type_, "DOUBLE", missing, distinct, exact, low, high)


def text(name="key", distinct=ROWS, missing=0, low="a", *, exact=True):
    return Column(name, "string", "VARCHAR", missing, distinct, exact, low, "zz")


def check(task, columns, rows=ROWS, **params):
    view = DatasetView(
        "ds_1", "demo", "sha256:ab", "csv", 1, rows, tuple(columns), "me", datetime.now(UTC)
    )
    errors = TASKS[task].validate(TASKS[task].Params(**{"target": "y", **params}), view)
    assert all(error.loc[0] in ("params", "dataset") for error in errors)
    return [(".".join(error.loc), error.msg, error.hint) for error in errors]


Y = column("y")
TWO = text("y", distinct=2)
THREE = text("y", distinct=3)


@pytest.mark.parametrize(
    ("task", "y"), [("regression", Y), ("binclass", TWO), ("multiclass", THREE)]
)
def test_good_data_passes(task, y):
    assert check(task, [column(), y]) == []


@pytest.mark.parametrize(
    ("columns", "params", "field", "words"),
    [
        ([column(), Y], {"target": "z"}, "target", "no column 'z'"),
        ([column(), Y], {"sample_weight": "yy"}, "sample_weight", "no column 'yy'"),
        ([column(), TWO], {}, "target", "string values"),
        ([column(), column("y", distinct=1)], {}, "target", "one value only"),
        ([column(), column("y", missing=95)], {}, "target", "has 5 values"),
        ([column(), column("y", high=1e31)], {}, "target", "up to 1e+31"),
        ([column(), column("y", low=-(10**40))], {}, "target", "up to 1e+40"),
        ([column(), column("y", low=1700000000, high=1700000009)], {}, "target", "float32"),
        ([column(), column("w", low=0, high=0), Y], {"sample_weight": "w"}, "sample_weight",
         "zero everywhere"),
        ([column(), column("w", low=-1), Y], {"sample_weight": "w"}, "sample_weight", "down to -1"),
        ([column(), column("w", missing=3), Y], {"sample_weight": "w"}, "sample_weight", "3 gaps"),
        ([column(), text("w"), Y], {"sample_weight": "w"}, "sample_weight", "weights are numbers"),
        ([column(high=4e38), Y], {}, "features", "'x' has values up to 4e+38"),
        ([column(low=-1e39), Y], {"features": ["x"]}, "features", "'x' has values up to 1e+39"),
        ([column(distinct=1), Y], {}, "features", "no feature column is left that varies"),
        ([column(distinct=0, missing=ROWS), Y], {}, "features", "no feature column is left that"),
        ([column(low=2**25, high=2**25 + 1), Y], {}, "features", "no feature column is left that"),
        ([column(), Y], {"ignore": ["x"]}, "features", "no feature column is left that varies"),
        ([text(), text("other", 99, 1), column("c", distinct=1), Y], {}, "features",
         "every row has another text in 'key', 'other'"),
        ([column("prediction"), Y], {}, "features", "name of an output"),
    ],
)  # fmt: skip
def test_one_clear_error(columns, params, field, words):
    ((where, message, _),) = check("regression", columns, **params)
    assert where == f"params.{field}"
    assert words in message


@pytest.mark.parametrize(
    ("columns", "params"),
    [
        ([text(), Y], {"features": ["key"]}),  # insisted on
        ([text(exact=False), Y], {}),  # an estimate proves nothing
        ([text(), column(), Y], {}),
        ([text(distinct=99), Y], {}),
        ([text(distinct=98, missing=2), Y], {}),
        ([text(distinct=99, missing=1, low=""), Y], {}),  # the gap and the empty text are one
        ([text(), column("y", missing=60)], {}),  # few rows: no identifier yet
        ([column(distinct=1, missing=4), Y], {}),  # there or not there
        ([column(high=4e38), column("z"), Y], {"ignore": ["x"]}),
        ([column(), column("w", low=0), Y], {"sample_weight": "w"}),
        ([column(), column("y", low=1700000000, high=1700009999)], {}),
        ([column(), column("y", high=1e30)], {}),
        ([column(high=None), Y], {}),  # JSON has no infinity
        ([column(), column("y", low=None)], {}),
        ([column(low=2.0**25, high=float("nan")), Y], {}),
    ],
)
def test_what_can_be_trained_on_is_not_refused(columns, params):
    assert check("regression", columns, **params) == []


@pytest.mark.parametrize("task", TASKS)
def test_an_empty_target_is_called_empty_and_nothing_else(task):
    nothing = Column("y", "string", "VARCHAR", ROWS, 0, True)
    assert check(task, [column(), nothing]) == [
        ("params.target", "column 'y' is empty", "choose another column")
    ]


@pytest.mark.parametrize(
    ("task", "classes", "words"),
    [
        ("binclass", 3, "exactly 2"),
        ("multiclass", 2, "at least 3"),
        ("multiclass", 201, "over 200"),
    ],
)
def test_class_counts(task, classes, words):
    ((where, message, _),) = check(task, [column(), text("y", classes)], rows=500)
    assert where == "params.target"
    assert words in message


def test_few_rows():
    ((where, message, _),) = check("binclass", [column(), text("y", 2)], rows=9)
    assert (where, message) == ("dataset", "has 9 rows")


@pytest.mark.parametrize(
    ("params", "field", "message"),
    [
        ({"features": ["a", "a"]}, "features", "column 'a' is listed twice"),
        ({"features": ["y"]}, "features", "column 'y' is the target column"),
        ({"features": ["w"], "sample_weight": "w"}, "features",
         "column 'w' is the sample_weight column"),
        ({"features": ["a"], "ignore": ["a"]}, "features", "column 'a' is in ignore too"),
        ({"ignore": ["y"]}, "ignore", "column 'y' is the target column"),
        ({"sample_weight": "y"}, "sample_weight", "column 'y' is the target column"),
        ({"features": ["{y}", "{y}"]}, "features", "column '{y}' is listed twice"),
    ],
)  # fmt: skip
def test_roles_that_clash_are_told_at_their_field(params, field, message):
    with pytest.raises(ValidationError) as caught:
        RegressionParams(target="y", **params)
    (problem,) = caught.value.errors()
    assert (problem["loc"], problem["msg"]) == ((field,), message)
