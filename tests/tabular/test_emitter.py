"""The graph against CatBoost itself, over losses, tree shapes, missing values and categories."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import onnx
import pytest
from models import frame_of, read_json, run, train

from trainbox_plugins.onnx_kit.columns import Column
from trainbox_plugins.onnx_kit.parity import check_parity
from trainbox_plugins.onnx_kit.pipeline import PipelineError, build_onnx, link_of

ALL = ["amount", "count", "member", "colour", "city", "day", "moment"]
NUMBERS = ["amount", "count", "member"]


def assert_parity(trained, **kwargs):
    spread = float(np.std(trained.pool.get_label()))
    report = check_parity(
        trained.onnx(), trained.frame.columns, trained.table(), trained.native(),
        borders=trained.borders(), spread=spread, threads=2, **kwargs,
    )  # fmt: skip
    assert report.passed, report.to_json()
    assert report.rows > 1000
    return report


@pytest.mark.parametrize(
    ("loss", "grow", "nan_mode"),
    list(
        itertools.product(
            ["RMSE", "Logloss", "MultiClass"],
            ["SymmetricTree", "Depthwise", "Lossguide"],
            ["Min", "Max"],
        )
    ),
)
def test_losses_by_grow_policy_by_nan_mode(loss, grow, nan_mode):
    assert_parity(train(loss, ALL, grow_policy=grow, nan_mode=nan_mode, depth=5))


@pytest.mark.parametrize(
    "loss",
    ["MAE", "Quantile:alpha=0.9", "MAPE", "Huber:delta=1.5", "Expectile:alpha=0.3", "Lq:q=3",
     "LogLinQuantile"],
)  # fmt: skip
def test_other_regression_losses(loss):
    trained = train(loss, ALL)
    if loss == "LogLinQuantile":
        # CatBoost answers the raw sum here, and so does the graph.
        assert link_of(trained.parsed) == "identity"
    assert_parity(trained)


@pytest.mark.parametrize("loss", ["CrossEntropy", "MultiClassOneVsAll"])
def test_other_classification_losses(loss):
    assert_parity(train(loss, ALL))


@pytest.mark.parametrize("complexity", [1, 2, 4])
@pytest.mark.parametrize("one_hot", [2, 255])
def test_combinations_of_categories(complexity, one_hot):
    columns = ["amount", "member", "colour", "city", "count"]
    trained = train("Logloss", columns, max_ctr_complexity=complexity, one_hot_max_size=one_hot,
                    model_size_reg=0, depth=6)  # fmt: skip
    sizes = {len(ctr.projection) for ctr in trained.parsed.ctrs}
    if one_hot == 2:
        assert sizes, "no statistic was used: the test would prove nothing"
        assert (max(sizes) > 1) == (complexity > 1)
    else:
        assert not any(len(c.projection.categoricals) > 1 for c in trained.parsed.ctrs)
    assert_parity(trained)


@pytest.mark.parametrize("kind", ["Borders", "Buckets", "BinarizedTargetMeanValue", "Counter"])
@pytest.mark.parametrize("loss", ["RMSE", "MultiClass"])
def test_kinds_of_statistics(kind, loss):
    trained = train(
        loss, ["amount", "colour", "city"], simple_ctr=[kind], combinations_ctr=[kind],
        one_hot_max_size=2, model_size_reg=0,
    )  # fmt: skip
    assert {ctr.kind for ctr in trained.parsed.ctrs} == {kind}
    assert_parity(trained)


def test_several_target_borders_of_a_regression():
    trained = train(
        "RMSE", ["amount", "colour", "city"], one_hot_max_size=2, model_size_reg=0,
        simple_ctr=["Borders:TargetBorderCount=5", "Buckets:TargetBorderCount=5"],
    )  # fmt: skip
    assert {ctr.target_border for ctr in trained.parsed.ctrs} > {0, 1}
    assert_parity(trained)


@pytest.mark.parametrize(
    "columns", [["amount"], ["colour"], ["moment"], ["member", "city"], NUMBERS]
)
def test_few_columns(columns):
    assert_parity(train("RMSE", columns))


@pytest.mark.parametrize("depth", [1, 8])
def test_depths(depth):
    assert_parity(train("RMSE", ALL, depth=depth, iterations=20))


def test_target_far_from_zero_keeps_its_digits():
    _, signal = frame_of(["amount"])
    trained = train("RMSE", ALL, target=signal * 10 + 1e6)
    report = assert_parity(trained)
    assert report.worst["prediction"] < 0.1  # half a float32 step at a million is 0.03


@pytest.mark.parametrize(
    ("loss", "kind"),
    [("Poisson", "Exponent"), ("Tweedie:variance_power=1.5", "Exponent"),
     ("RMSEWithUncertainty", "RMSEWithUncertainty"), ("MultiQuantile:alpha=0.1,0.5,0.9", None),
     ("MultiRMSE", None)],
)  # fmt: skip
def test_losses_with_a_link_or_several_outputs(loss, kind):
    # No combinations of categories: CatBoost refuses them for a target of several columns.
    columns = NUMBERS if loss == "MultiRMSE" else ALL
    trained = train(loss, columns)
    features = trained.frame.features()
    expected = trained.model.predict(features, prediction_type=kind or "RawFormulaVal")
    got = run(trained.onnx(), trained.frame, trained.table())["prediction"]
    assert got.shape == (400, expected.reshape(400, -1).shape[1])
    np.testing.assert_allclose(got, expected.reshape(got.shape), rtol=2e-5, atol=2e-5)


def test_thousands_of_trees_are_as_exact_as_hundreds():
    trained = train("RMSE", ["amount", "city"], iterations=4000, depth=2, learning_rate=0.02)
    report = assert_parity(trained)
    assert report.worst_ratio < 0.4
    operators = [n.op_type for n in onnx.load_from_string(trained.onnx()).graph.node]
    assert operators.count("TreeEnsembleRegressor") == 16


def test_versions_are_those_old_runtimes_load():
    model = onnx.load_from_string(train("Logloss", ALL, iterations=5).onnx())
    onnx.checker.check_model(model, full_check=True)
    assert 8 <= model.ir_version <= 10
    assert {o.domain: o.version for o in model.opset_import} == {"": 18, "ai.onnx.ml": 3}
    assert [i.name for i in model.graph.input] == ALL
    assert [o.name for o in model.graph.output] == ["prediction", "probabilities", "classes"]
    for value in model.graph.input:
        batch, one = value.type.tensor_type.shape.dim
        assert (batch.dim_param, one.dim_value) == ("N", 1)


def test_the_graph_stays_small_whatever_the_number_of_statistics():
    trained = train("Logloss", ["amount", "member", "colour", "city", "count"], depth=6,
                    iterations=150, model_size_reg=0, one_hot_max_size=2, max_ctr_complexity=4)  # fmt: skip
    assert len(trained.parsed.ctrs) > 50
    assert len(onnx.load_from_string(trained.onnx()).graph.node) < 60


def test_model_that_asks_nothing():
    trained = train("RMSE", ALL, target=np.full(400, 7.25), allow_const_label=True, iterations=3,
                    bootstrap_type="No")  # fmt: skip
    table = trained.table()
    got = run(trained.onnx(), trained.frame, table)["prediction"]
    assert got.shape == (400, 1)
    assert (got == np.float32(7.25)).all()
    nothing = {name: values[:0] for name, values in table.items()}
    assert run(trained.onnx(), trained.frame, nothing)["prediction"].shape == (0, 1)


def test_model_without_trees():
    trained = train("MultiClass", ALL, iterations=5)
    bare = dataclasses.replace(trained.parsed, trees=())
    got = run(trained.onnx(bare), trained.frame, trained.table())
    np.testing.assert_allclose(got["probabilities"], np.full((400, 3), 1 / 3), atol=0.2)
    assert len(np.unique(got["probabilities"], axis=0)) == 1


def test_scale_multiplies_leaves_and_not_the_bias():
    trained = train("RMSE", ALL)
    trained.model.set_scale_and_bias(2.5, -3.0)
    again = dataclasses.replace(trained, parsed=read_json(trained.model, trained.pool))
    assert again.parsed.scale == 2.5
    assert_parity(again)


def test_unseen_category_of_one_column_that_is_known_in_another():
    trained = train("Logloss", ["amount", "colour", "city"], one_hot_max_size=2)
    table = {name: values[:50].copy() for name, values in trained.table().items()}
    table["colour"][:] = "city 1"
    expected = trained.native()(table)["probabilities"]
    for categories in (trained.frame.categories(), None):
        graph = build_onnx(trained.parsed, trained.frame.columns, classes=trained.classes,
                           categories=categories)  # fmt: skip
        got = run(graph, trained.frame, table)["probabilities"]
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_float_statistics_as_gpu_models_have_them():
    """A GPU writes FloatTargetMeanValue and FeatureFreq; rename the tables a CPU model has."""
    trained = train("RMSE", ["amount", "colour", "city"], one_hot_max_size=2, model_size_reg=0,
                    simple_ctr=["BinarizedTargetMeanValue", "Counter"], max_ctr_complexity=1)  # fmt: skip
    names = {"BinarizedTargetMeanValue": "FloatTargetMeanValue", "Counter": "FeatureFreq"}
    ctrs = tuple(dataclasses.replace(c, kind=names[c.kind]) for c in trained.parsed.ctrs)
    assert {ctr.kind for ctr in ctrs} == set(names.values())
    renamed = dataclasses.replace(trained.parsed, ctrs=ctrs)
    got = run(trained.onnx(renamed), trained.frame, trained.table())["prediction"][:, 0]
    np.testing.assert_allclose(got, trained.native()(trained.table())["prediction"], atol=1e-5)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ([], "at least one"),
        ([Column("a", "number"), Column("a", "number")], "unique"),
        ([Column("", "number")], "not empty"),
        ([Column("prediction", "number")], "taken by an output"),
        ([Column("classes", "string")], "taken by an output"),
    ],
)
def test_impossible_columns_are_refused(columns, reason):
    trained = train("RMSE", ["amount"], iterations=2)
    with pytest.raises(PipelineError, match=reason):
        build_onnx(trained.parsed, columns)


def test_classes_must_fit_the_loss():
    trained = train("MultiClass", ["amount"], iterations=2)
    with pytest.raises(PipelineError, match="2 classes given, the model has 3"):
        build_onnx(trained.parsed, trained.frame.columns, classes=np.arange(2))
    with pytest.raises(PipelineError, match="do not fit"):
        build_onnx(trained.parsed, trained.frame.columns)


def test_column_named_like_an_inner_value():
    trained = train("RMSE", ["amount"], iterations=3)
    frame = dataclasses.replace(
        trained.frame, columns=(Column("/constant_1", "number"),),
        values={"/constant_1": trained.frame.values["amount"]},
    )  # fmt: skip
    got = run(build_onnx(trained.parsed, frame.columns), frame, frame.table(np.arange(5)))
    want = trained.native()({"amount": frame.table(np.arange(5))["/constant_1"]})
    np.testing.assert_allclose(got["prediction"][:, 0], want["prediction"], atol=1e-6)
