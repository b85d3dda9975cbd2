"""The parity check must be able to fail: vendor exports, mutated models, wrong shapes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
from models import train
from onnx import TensorProto, helper, numpy_helper

from trainbox_plugins.onnx_kit import calendar_features
from trainbox_plugins.onnx_kit import probes as probes_module
from trainbox_plugins.onnx_kit.catboost_json import FloatSplit, ObliviousTree
from trainbox_plugins.onnx_kit.columns import Column
from trainbox_plugins.onnx_kit.parity import check_parity
from trainbox_plugins.onnx_kit.probes import UNSEEN_CATEGORY, build_probes

NUMBERS = ["amount", "count", "member"]
MIXED = ["amount", "member", "colour", "city"]


def check(trained, onnx_bytes, **kwargs):
    return check_parity(
        onnx_bytes, trained.frame.columns, trained.table(), trained.native(),
        borders=trained.borders(), spread=float(np.std(trained.pool.get_label())), **kwargs,
    )  # fmt: skip


def vendor_export(trained, tmp_path) -> bytes:
    """CatBoost's own exporter, with our inputs and outputs put around it."""
    path = tmp_path / "vendor.onnx"
    trained.model.save_model(str(path), format="onnx")
    graph = onnx.load(str(path)).graph
    tree = next(n for n in graph.node if n.op_type == "TreeEnsembleClassifier")
    names = [column.name for column in trained.frame.columns]
    labels = numpy_helper.from_array(np.asarray(trained.classes, dtype=object), "labels")
    concat = helper.make_node("Concat", names, [tree.input[0]], axis=1)
    best = helper.make_node("ArgMax", [tree.output[1]], ["best"], axis=1, keepdims=1)
    nodes = [concat, tree, best, helper.make_node("Gather", ["labels", "best"], ["prediction"]),
             helper.make_node("Identity", [tree.output[1]], ["probabilities"]),
             helper.make_node("Identity", ["labels"], ["classes"])]  # fmt: skip
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 1]) for n in names]
    count = len(trained.classes)
    outputs = [
        helper.make_tensor_value_info("prediction", TensorProto.STRING, ["N", 1]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", count]),
        helper.make_tensor_value_info("classes", TensorProto.STRING, [count]),
    ]
    whole = helper.make_graph(nodes, "vendor", inputs, outputs, [labels])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(whole, ir_version=8, opset_imports=opsets).SerializeToString()


def test_vendor_export_of_one_vs_all_is_refused(tmp_path):
    trained = train("MultiClassOneVsAll", NUMBERS)
    report = check(trained, vendor_export(trained, tmp_path))
    assert not report.passed
    assert report.worst["probabilities"] > 0.05  # softmax where per-class sigmoids belong
    assert report.label_mismatches == 0  # which is why comparing labels alone would not do
    assert report.failures[0].output == "probabilities"


def test_vendor_export_of_multiclass_is_accepted_by_the_same_harness(tmp_path):
    trained = train("MultiClass", NUMBERS)
    assert check(trained, vendor_export(trained, tmp_path)).passed


def test_own_export_of_one_vs_all_is_accepted():
    trained = train("MultiClassOneVsAll", NUMBERS)
    assert check(trained, trained.onnx()).passed


def with_tree(parsed, index, tree):
    trees = list(parsed.trees)
    trees[index] = tree
    return dataclasses.replace(parsed, trees=tuple(trees))


@pytest.mark.parametrize("index", [0, 7, 19, 39])
def test_one_altered_leaf_is_found(index):
    trained = train("RMSE", MIXED)
    tree = trained.parsed.trees[index]
    weights = trained.model.get_leaf_weights()
    sizes = [len(t.leaves) for t in trained.parsed.trees]
    start = sum(sizes[:index])
    leaves = tree.leaves.copy()
    leaves[int(np.argmax(weights[start : start + sizes[index]]))] += 1e-3
    mutant = with_tree(trained.parsed, index, dataclasses.replace(tree, leaves=leaves))
    report = check(trained, trained.onnx(mutant))
    assert not report.passed
    assert report.worst["prediction"] == pytest.approx(1e-3, rel=0.05)


def float_splits(parsed):
    return [
        (number, place)
        for number, tree in enumerate(parsed.trees)
        for place, split in enumerate(tree.splits)
        if isinstance(split, FloatSplit) and parsed.float_features[split.feature].flat_index == 0
        and split.border > -1e30
    ]  # fmt: skip


@pytest.mark.parametrize("towards", [-np.inf, np.inf])
@pytest.mark.parametrize("nth", [0, 5, 10, 15, 20])
def test_one_border_moved_by_one_float_step_is_found(nth, towards):
    trained = train("RMSE", MIXED)
    number, place = float_splits(trained.parsed)[nth]
    tree = trained.parsed.trees[number]
    split = tree.splits[place]
    moved = float(np.nextafter(np.float32(split.border), np.float32(towards)))
    assert moved != split.border
    splits = list(tree.splits)
    splits[place] = FloatSplit(split.feature, moved)
    mutant = with_tree(trained.parsed, number, ObliviousTree(tuple(splits), tree.leaves))
    report = check(trained, trained.onnx(mutant))
    assert not report.passed
    kinds = {failure.kind for failure in report.failures}
    assert kinds <= {"border", "border_above"}, kinds


@pytest.mark.parametrize("loss", ["RMSE", "Logloss"])
def test_one_remapped_category_is_found(loss):
    trained = train(loss, MIXED, one_hot_max_size=255)
    hashes = dict(trained.parsed.category_hashes)
    hashes["red"], hashes["blue "] = hashes["blue "], hashes["red"]
    mutant = dataclasses.replace(trained.parsed, category_hashes=hashes)
    report = check(trained, trained.onnx(mutant))
    assert not report.passed
    assert report.failures[0].row["colour"] in ("red", "blue ")


def test_swapped_classes_are_found():
    trained = train("MultiClass", MIXED)
    swapped = dataclasses.replace(trained, classes=trained.classes[[1, 0, 2]])
    report = check(trained, swapped.onnx())
    assert not report.passed
    assert report.label_mismatches > 0
    assert "classes" in {f.output for f in report.failures} or report.failing_rows > 0


def test_wrong_side_of_missing_values_is_found():
    trained = train("RMSE", MIXED, nan_mode="Max")
    features = tuple(
        dataclasses.replace(f, nan_is_high=False) for f in trained.parsed.float_features
    )
    report = check(
        trained, trained.onnx(dataclasses.replace(trained.parsed, float_features=features))
    )
    assert not report.passed


def test_statistic_of_an_unseen_category_is_checked(monkeypatch):
    trained = train("Logloss", MIXED, one_hot_max_size=2, model_size_reg=0)
    tables = {
        key: dataclasses.replace(table, denominator=table.denominator + 10**6)
        for key, table in trained.parsed.ctr_tables.items()
    }
    mutant = dataclasses.replace(trained.parsed, ctr_tables=tables)
    used = {ctr.kind for ctr in trained.parsed.ctrs}
    assert "Counter" in used
    assert not check(trained, trained.onnx(mutant)).passed


def with_tail(trained, *nodes, **constants) -> bytes:
    """Put nodes between the graph's result (``in``) and its output (``out``)."""
    model = onnx.load_from_string(trained.onnx())
    tail = model.graph.node.pop()
    for node in nodes:
        node.input[:] = [tail.input[0] if name == "in" else name for name in node.input]
        node.output[:] = [tail.output[0] if name == "out" else name for name in node.output]
    model.graph.node.extend(nodes)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model.SerializeToString()


def test_graph_that_fails_on_an_empty_batch_is_refused():
    trained = train("RMSE", NUMBERS)
    first = helper.make_node("Gather", ["in", "zero"], ["first"], axis=0)  # there is no first row
    nothing = helper.make_node("Mul", ["first", "none"], ["nothing"])
    graph = with_tail(
        trained, first, nothing, helper.make_node("Add", ["in", "nothing"], ["out"]),
        zero=[0], none=np.float32(0),
    )  # fmt: skip
    report = check(trained, graph)
    assert not report.passed
    assert [(f.output, f.kind) for f in report.failures] == [("batch_0", "does not run")]


def test_graph_that_mixes_rows_of_a_batch_is_refused():
    trained = train("RMSE", NUMBERS)
    # Right for the whole batch, wrong for small ones: the mean over rows is added and taken away
    # only where there are more than 100 rows.
    mean = helper.make_node("ReduceMean", ["in"], ["mean"], keepdims=1)
    size = helper.make_node("Size", ["in"], ["size"])
    small = helper.make_node("Less", ["size", "hundred"], ["small"])
    number = helper.make_node("Cast", ["small"], ["factor"], to=TensorProto.FLOAT)
    extra = helper.make_node("Mul", ["mean", "factor"], ["extra"])
    graph = with_tail(trained, mean, size, small, number, extra,
                      helper.make_node("Add", ["in", "extra"], ["out"]), hundred=np.int64(100))  # fmt: skip
    report = check(trained, graph)
    assert not report.passed
    assert {f.output for f in report.failures} <= {"batch_1", "batch_7"}


def test_wrong_shape_is_a_failure_and_no_crash():
    trained = train("RMSE", NUMBERS)
    model = onnx.load_from_string(trained.onnx())
    tail = model.graph.node[-1]
    tail.op_type = "Flatten"
    tail.attribute.append(helper.make_attribute("axis", 0))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    report = check(trained, model.SerializeToString())
    assert not report.passed
    assert report.failures[0].expected[0] == report.rows


def test_nan_for_a_number_is_a_failure():
    trained = train("RMSE", NUMBERS)
    broken = dataclasses.replace(trained.parsed, bias=np.asarray([np.nan]))
    report = check(trained, trained.onnx(broken))
    assert not report.passed
    assert report.failing_rows >= report.rows
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["worst"] == {
        "prediction": "inf"
    }


def test_report_is_plain_data_and_counts_every_kind():
    trained = train("Logloss", ["amount", "member", "colour", "day"])
    report = check(trained, trained.onnx())
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["passed"] is True
    assert sum(document["probes"].values()) == document["rows"] >= 1000
    assert document["batches"][:3] == [0, 1, 7]
    for kind in ("real", "recombined", "missing", "all_missing", "unseen_category", "extreme",
                 "zero", "border", "border_above", "border_below", "leap_day"):  # fmt: skip
        assert document["probes"][kind] > 0, kind
    assert document["worst_ratio"] <= 1


def test_probes_visit_every_weak_spot():
    columns = [Column("n", "number"), Column("b", "boolean"), Column("s", "string"),
               Column("d", "datetime")]  # fmt: skip
    rows = {"n": np.float32([1, 2]), "b": np.float32([0, 1]), "s": np.asarray(["a", "b"], object),
            "d": np.asarray([5, 6])}  # fmt: skip
    probes = build_probes(columns, rows, borders={"n": [1.5]}, sample=100)
    step = np.float32(1.5)
    for value in (
        3e38,
        -3e38,
        1.5,
        np.nextafter(step, np.float32(9)),
        np.nextafter(step, np.float32(0)),
    ):
        assert np.float32(value) in probes.table["n"]
    assert np.isnan(probes.table["n"]).any()
    assert np.signbit(probes.table["n"][probes.table["n"] == 0]).any()
    assert {"", UNSEEN_CATEGORY} <= set(probes.table["s"])
    assert calendar_features.MISSING in probes.table["d"]
    assert np.isnan(probes.table["b"]).any()
    assert len(probes.kinds) == len(probes.table["n"]) >= 100


def test_wide_tables_carry_several_changes_in_a_row(monkeypatch):
    columns = [Column(f"n{i}", "number") for i in range(40)]
    rows = {column.name: np.float32([1, 2, 3]) for column in columns}
    borders = {column.name: [1.5, 2.5] for column in columns}
    apart = build_probes(columns, rows, borders=borders, sample=10)
    monkeypatch.setattr(probes_module, "MAX_CELLS", 8000)
    packed = build_probes(columns, rows, borders=borders, sample=10)
    assert len(packed.kinds) * len(columns) < 10_000 < len(apart.kinds) * len(columns)
    assert packed.counts == apart.counts
    assert packed.kinds.count("several") > 100
    for name in rows:
        want, have = (np.unique(p.table[name]) for p in (apart, packed))
        assert np.array_equal(want, have, equal_nan=True)


def test_probes_need_a_row():
    with pytest.raises(ValueError, match="at least one real row"):
        build_probes([Column("n", "number")], {"n": np.zeros(0, np.float32)}, borders={})


def test_near_ties_are_counted_and_forgiven():
    trained = train("Logloss", NUMBERS)
    native = trained.native()

    def tied(table):
        answer = dict(native(table))
        answer["probabilities"] = np.full_like(answer["probabilities"], 0.5)
        return answer

    flat = dataclasses.replace(trained.parsed, trees=(), bias=np.asarray([0.0]))
    report = check_parity(trained.onnx(flat), trained.frame.columns, trained.table(), tied)
    assert report.passed
    assert report.near_ties > 0
    assert report.label_mismatches == 0
