"""The parameters as documented, validated, and read by the guest."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from pydantic import ValidationError
from trainbox_guest.run import GuestError

from trainbox_plugins.tabular.guest.score_names import SCORES
from trainbox_plugins.tabular.guest.settings import Settings
from trainbox_plugins.tabular.params import BinclassParams, MulticlassParams, RegressionParams

MODELS = {
    "regression": RegressionParams,
    "binclass": BinclassParams,
    "multiclass": MulticlassParams,
}


@pytest.mark.parametrize("task", MODELS)
def test_daemon_and_guest_have_the_same_knobs_and_defaults(task):
    model = MODELS[task]
    guest = {field.name for field in dataclasses.fields(Settings)} - {"task"}
    assert set(model.model_fields) == guest
    from_daemon = Settings.from_params(task, model(target="y").model_dump(mode="json"))
    alone = Settings.from_params(task, {"target": "y"})
    assert dataclasses.asdict(from_daemon) == dataclasses.asdict(alone)


@pytest.mark.parametrize("task", MODELS)
def test_metrics_are_those_of_the_task_and_the_first_is_default(task):
    annotation = MODELS[task].model_fields["metric"].annotation
    assert list(annotation.__args__) == list(SCORES[task])
    assert MODELS[task](target="y").metric == next(iter(SCORES[task]))


@pytest.mark.parametrize("task", MODELS)
def test_every_knob_is_documented_and_bounded(task):
    schema = MODELS[task].model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["target"]
    for name, field in schema["properties"].items():
        assert field.get("title"), name
        assert field.get("description", "").endswith("."), name
    limits = schema["properties"]["trials"]
    assert (limits["minimum"], limits["maximum"], limits["default"]) == (1, 200, 20)
    json.dumps(schema)


@pytest.mark.parametrize(
    "bad",
    [
        {}, {"target": ""}, {"target": "y", "trials": 0}, {"target": "y", "trials": 201},
        {"target": "y", "time_budget_s": 0}, {"target": "y", "metric": "auc"},
        {"target": "y", "colour": 1}, {"target": "y", "features": []},
        {"target": "y", "features": ["y"]}, {"target": "y", "features": ["a", "a"]},
        {"target": "y", "ignore": ["y"]}, {"target": "y", "sample_weight": "y"},
        {"target": "y", "features": ["w"], "sample_weight": "w"},
        {"target": "y", "features": ["a"], "ignore": ["a"]},
        {"target": "y", "validation": {"kind": "kfold", "folds": 1}},
        {"target": "y", "validation": {"kind": "kfold", "folds": 11}},
        {"target": "y", "validation": {"kind": "holdout", "folds": 3}},
        {"target": "y", "validation": {"kind": "none"}},
        {"target": "y", "seed": -1}, {"target": "y", "device": "tpu"},
        {"target": "y", "max_ctr_complexity": 0}, {"target": "y", "holdout_fraction": 0.9},
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        RegressionParams(**bad)


@pytest.mark.parametrize(
    ("task", "params"),
    [("clustering", {"target": "y"}), ("regression", {}), ("regression", {"target": "y", "x": 1}),
     ("regression", {"target": "y", "metric": "auc"})],
)  # fmt: skip
def test_the_guest_refuses_them_too(task, params):
    with pytest.raises(GuestError) as caught:
        Settings.from_params(task, params)
    assert caught.value.code == "bad_params"


def test_params_load_without_the_training_stack():
    code = (
        "import sys; import trainbox_plugins.tabular.params as p; "
        "heavy = {'catboost', 'numpy', 'onnx', 'onnxruntime', 'optuna', 'pandas', 'duckdb'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_guest_loads_without_the_daemons_stack():
    code = (
        "import sys; import trainbox_plugins.tabular.guest.main; "
        "daemon = {'pydantic', 'pluggy', 'aiohttp', 'trainbox', 'trainbox_sdk', 'sqlmodel'}; "
        "print(sorted(daemon & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_onnx_kit_stands_alone():
    code = (
        "import sys; import trainbox_plugins.onnx_kit.parity, trainbox_plugins.onnx_kit.pipeline; "
        "other = {'catboost', 'pandas', 'duckdb', 'trainbox_guest', 'optuna'}; "
        "print(sorted(other & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
