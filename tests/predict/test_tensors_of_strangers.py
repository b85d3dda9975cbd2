"""Models whose inputs are rows of several numbers: checked, described, and served."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainbox.engine.predict import Predictor
from trainbox_guest.run import GuestError
from trainbox_plugins.onnx_check import foreign, guest
from trainbox_plugins.onnx_check.plugin import Plugin
from trainbox_sdk.errors import ValidationFailed
from trainbox_sdk.predictions import InferRequest, Tensor

MIB = 1024**2
WEIGHTS = np.array([[1.0, 0], [0, 10], [100, 0]], np.float32)


def graph(nodes, inputs, outputs, initializers=(), *, opsets=(("", 18),), ir=10, **more):
    made = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    return helper.make_model(made, opset_imports=imports, ir_version=ir, **more)


def value(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def linear(batch="N", **more):
    """Three numbers in, two out."""
    weights = numpy_helper.from_array(WEIGHTS, "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return graph(nodes, [value("x", [batch, 3])], [value("y", [batch, 2])], [weights], **more)


def image():
    """The mean of each picture of 2 x 2."""
    nodes = [helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0)]
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    inputs = [value("picture", ["N", 2, 2], TensorProto.INT64)]
    return graph(nodes, inputs, [value("mean", ["N"], TensorProto.INT64)], [axes])


def checked(model, tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    told = []
    params = {"preview": {"rows": [{"x": 1}], "predictions": [{"y": 2}]}}
    guest.main(SimpleNamespace(dataset_path=path, cpus=1.0, params=params, result=told.append))
    return told[0], path


@pytest.fixture
async def predictor():
    made = Predictor(max_workers=1, memory_bytes=512 * MIB, timeout_s=20.0)
    yield made
    await made.close()


def model_view(told, path):
    return SimpleNamespace(id="mdl_1", digest=str(path), signature=told["signature"])


class TestServed:
    async def test_rows_of_a_matrix(self, predictor, tmp_path) -> None:
        told, path = checked(linear(), tmp_path)
        assert told["preview"] is None
        assert told["signature"]["inputs"] == [
            {"name": "x", "type": "tensor", "dtype": "float", "shape": [-1, 3], "row": [3]}
        ]
        answer = await predictor.predict(
            model_view(told, path), path, [{"x": [1, 2, 3]}, {"x": [0.5, 0, 0]}]
        )
        assert answer.rows == [{"y": [301.0, 20.0]}, {"y": [0.5, 0.0]}]

    async def test_many_rows_of_a_matrix(self, predictor, tmp_path) -> None:
        told, path = checked(linear(), tmp_path)
        rows = [{"x": [n, n, n]} for n in range(200)]
        answer = await predictor.predict(model_view(told, path), path, rows)
        assert [row["y"] for row in answer.rows] == [[101.0 * n, 10.0 * n] for n in range(200)]

    @pytest.mark.parametrize("row", [[[1, 2], [3, 6]], [1, 2, 3, 6]], ids=["nested", "flat"])
    async def test_rows_of_pictures(self, predictor, tmp_path, row) -> None:
        told, path = checked(image(), tmp_path)
        answer = await predictor.predict(model_view(told, path), path, [{"picture": row}])
        assert answer.rows == [{"mean": 3}]

    @pytest.mark.parametrize(
        ("row", "sentence"),
        [
            (None, "must be a tensor, not null"),
            (1.5, "must be 3 numbers in a list of shape [3]"),
            ([1, 2], "must be 3 numbers in a list of shape [3]"),
            ([[1, 2, 3]], "must be 3 numbers in a list of shape [3]"),
            ([1, 2, "3"], "must be a number, not the string '3'"),
            ([1, 2, None], "must be a number, not null"),
            ([1, 2, 1e39], "must be a finite number of type float"),
            ([1, 2, True], "must be a number, not the boolean true"),
        ],
        ids=repr,
    )
    async def test_a_bad_row_is_one_clear_error(self, predictor, tmp_path, row, sentence) -> None:
        told, path = checked(linear(), tmp_path)
        with pytest.raises(ValidationFailed) as refused:
            await predictor.predict(model_view(told, path), path, [{"x": row}])
        assert sentence in str(refused.value)
        assert refused.value.errors[0].loc == ("rows", 0, "x")

    @pytest.mark.parametrize(
        "tensor",
        [
            Tensor("x", "FP32", (2, 3), None, [1, 2, 3, 0.5, 0, 0]),
            Tensor("x", "FP32", (2, 3), None, [[1, 2, 3], [0.5, 0, 0]]),
            Tensor("x", "FP32", (2, 3), np.array([1, 2, 3, 0.5, 0, 0], "<f4").tobytes()),
        ],
        ids=["flat", "nested", "raw"],
    )
    async def test_tensors(self, predictor, tmp_path, tensor) -> None:
        told, path = checked(linear(), tmp_path)
        result = await predictor.infer(model_view(told, path), path, InferRequest("m", (tensor,)))
        found = result.outputs[0]
        assert (found.datatype, tuple(found.shape)) == ("FP32", (2, 2))
        assert np.frombuffer(found.raw, "<f4").tolist() == [301.0, 20.0, 0.5, 0.0]

    @pytest.mark.parametrize(
        ("tensor", "sentence"),
        [
            (Tensor("x", "FP32", (1, 2), None, [1, 2]), "has shape [1, 2], not [n, 3]"),
            (Tensor("x", "FP32", (3,), None, [1, 2, 3]), "has shape [3], not [n, 3]"),
            (Tensor("x", "FP32", (0, 3), None, []), "has no rows"),
            (Tensor("x", "FP32", (1, 3), None, [1, 2]), "data that is not 3 values"),
            (Tensor("x", "FP32", (1, 3), None, [[1, [2], 3]]), "has a list at 1"),
            (Tensor("x", "FP32", (1, 3), b"1234"), "has 4 bytes; 3 values of FP32 have 12"),
            (Tensor("x", "FP64", (1, 3), None, [1, 2, 3]), "the model takes FP32"),
        ],
        ids=range(7),
    )
    async def test_a_bad_tensor_is_one_clear_error(
        self, predictor, tmp_path, tensor, sentence
    ) -> None:
        told, path = checked(linear(), tmp_path)
        with pytest.raises(ValidationFailed) as refused:
            await predictor.infer(model_view(told, path), path, InferRequest("m", (tensor,)))
        assert sentence in str(refused.value)


class TestNotServed:
    def test_a_fixed_batch_is_kept_and_said(self, tmp_path) -> None:
        told, _ = checked(linear(batch=1), tmp_path)
        assert "first size that is free" in told["signature"]["unserved"]

    def test_open_sizes_inside_a_row_are_said(self, tmp_path) -> None:
        nodes = [helper.make_node("ReduceSum", ["t"], ["s"], keepdims=0)]
        model = graph(nodes, [value("t", ["N", "L", 4])], [value("s", [])])
        assert "without a fixed size" in checked(model, tmp_path)[0]["signature"]["unserved"]


def node(kind, *args, **attributes):
    return helper.make_node(kind, *args, **attributes)


def nested(depth):
    """An If in an If in an If."""
    inner = helper.make_graph(
        [node("Constant", [], ["c"], value_float=1.0)], "g0", [], [value("c", [])]
    )
    small = inner
    for n in range(depth):
        deeper = [node("If", ["yes"], [f"r{n}"], then_branch=inner, else_branch=small)]
        inner = helper.make_graph(deeper, f"g{n + 1}", [], [value(f"r{n}", [])])
    yes = numpy_helper.from_array(np.array(True), "yes")
    made = helper.make_graph(
        list(inner.node), "top", [value("x", ["N"])], list(inner.output), [yes]
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def external():
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/shadow")
    return model


def hidden_external():
    """In the tensor of a constant, inside a branch."""
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="/etc/passwd")
    branch = helper.make_graph(
        [node("Constant", [], ["c"], value=tensor)], "b", [], [value("c", [1])]
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    nodes = [node("If", ["yes"], ["r"], then_branch=branch, else_branch=branch)]
    return graph(nodes, [value("x", ["N"])], [value("r", [1])], [yes])


def zipmap():
    nodes = [
        node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    output = helper.make_value_info(
        "m",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(
                TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
            )
        ),
    )
    opsets = (("", 18), ("ai.onnx.ml", 3))
    return graph(nodes, [value("p", ["N", 2])], [output], opsets=opsets)


def many_nodes():
    nodes = [node("Identity", ["x"], [f"y{n}"]) for n in range(51)]
    return graph(nodes, [value("x", ["N"])], [value("y0", ["N"])])


def huge_input():
    nodes = [node("Identity", ["x"], ["y"])]
    return graph(nodes, [value("x", [1 << 20, 1 << 20])], [value("y", [1 << 20, 1 << 20])])


BOMBS = {
    "no_onnx": (lambda: b"\x80\x04pickle", "not an ONNX file"),
    "nothing": (lambda: b"", "not an ONNX file"),
    "deep_protobuf": (lambda: b"\x3a\x7f" * 5000, "not an ONNX file"),
    "external_data": (external, "tensor 'w' lies in another file"),
    "external_data_in_a_branch": (hidden_external, "tensor 't' lies in another file"),
    "custom_domain": (
        lambda: graph(
            [node("Evil", ["x"], ["y"], domain="com.evil")],
            [value("x", ["N"])],
            [value("y", ["N"])],
            opsets=(("", 18), ("com.evil", 1)),
        ),
        "operators of domain 'com.evil' cannot be served",
    ),
    "domain_nobody_imports": (
        lambda: graph(
            [node("FusedGemm", ["x"], ["y"], domain="com.microsoft")],
            [value("x", ["N"])],
            [value("y", ["N"])],
        ),
        "operators of domain 'com.microsoft' cannot be served",
    ),
    "opset_of_the_future": (lambda: linear(opsets=(("", 99),)), "opset ai.onnx 99 is newer than"),
    "ir_of_the_future": (lambda: linear(ir=99), "IR version 99 is newer than"),
    "no_versions": (lambda: linear(opsets=()), "states no version"),
    "too_many_nodes": (many_nodes, "more than 50 nodes"),
    "graphs_in_graphs": (lambda: nested(20), "nested more than 16 deep"),
    "input_of_a_trillion": (huge_input, "over 16000000 elements"),
    "outputs_that_are_no_tensors": (zipmap, "output 'm' is a seq(map(int64,tensor(float)))"),
    "no_inputs": (
        lambda: graph([node("Constant", [], ["y"], value_float=1.0)], [], [value("y", [])]),
        "it has 0 inputs",
    ),
    "does_not_run": (
        lambda: graph(
            [node("Reshape", ["x", "s"], ["y"])],
            [value("x", ["N", 3])],
            [value("y", [7])],
            [numpy_helper.from_array(np.array([7], np.int64), "s")],
        ),
        "does not run on random tensors",
    ),
}


@pytest.mark.hostile
@pytest.mark.parametrize("bomb", BOMBS)
def test_onnx_bomb(tmp_path: Path, bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, sentence = BOMBS[bomb]
    monkeypatch.setattr(guest, "MAX_NODES", 50)
    with pytest.raises(GuestError) as refused:
        checked(make(), tmp_path)
    assert refused.value.code == "onnx_invalid"
    assert sentence in str(refused.value)


def test_free_sizes_are_tried_until_one_runs(tmp_path: Path) -> None:
    """A convolution of width 3 does not run on one value, and does on eight."""
    weights = numpy_helper.from_array(np.ones((1, 1, 3), np.float32), "w")
    nodes = [node("Conv", ["x", "w"], ["y"])]
    model = graph(nodes, [value("x", ["N", 1, "L"])], [value("y", ["N", 1, "M"])], [weights])
    assert checked(model, tmp_path)[0]["signature"]["inputs"][0]["shape"] == [-1, 1, -1]


def test_inputs_are_described_by_kind(tmp_path: Path) -> None:
    kinds = {"f": 1, "d": 11, "h": 10, "i": 7, "b": 9, "s": 8, "u": 2}
    nodes = [node("Identity", [name], [f"{name}_out"]) for name in kinds]
    inputs = [value(name, ["N", 1], kind) for name, kind in kinds.items()]
    outputs = [value(f"{name}_out", ["N", 1], kind) for name, kind in kinds.items()]
    told, _ = checked(graph(nodes, inputs, outputs), tmp_path)
    found = {each["name"]: (each["type"], each["dtype"]) for each in told["signature"]["inputs"]}
    assert found == {
        "f": ("number", "float"),
        "d": ("number", "double"),
        "h": ("number", "float16"),
        "i": ("number", "int64"),
        "b": ("boolean", "bool"),
        "s": ("string", "string"),
        "u": ("number", "uint8"),
    }
    assert foreign.MAX_INPUTS > len(kinds)


@pytest.mark.parametrize(
    "name", ["a\x1b[2J", "a\u202eb", "a\nb", "x" * 257], ids=["control", "bidi", "break", "long"]
)
@pytest.mark.parametrize("side", ["input", "output"])
def test_a_name_no_column_could_have_is_refused(tmp_path: Path, side: str, name: str) -> None:
    given, made = (name, "y") if side == "input" else ("x", name)
    node = helper.make_node("Identity", [given], [made])
    with pytest.raises(GuestError) as refusal:
        checked(graph([node], [value(given, ["N"])], [value(made, ["N"])]), tmp_path)
    assert refusal.value.code == "onnx_invalid"
    assert f"has a name of {len(name)} characters" in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_more_outputs_than_are_told_are_refused(tmp_path: Path) -> None:
    names = [f"y{n}" for n in range(1001)]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    with pytest.raises(GuestError, match="1001 outputs, at most 1000"):
        checked(graph(nodes, [value("x", ["N"])], [value(n, ["N"]) for n in names]), tmp_path)


def test_all_the_check_imports_of_ours_goes_into_its_sandbox() -> None:
    (check,) = Plugin(Plugin.Config()).register_checks()
    for name in check.packages:
        tree = ast.parse(Path(find_spec(name).origin).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("trainbox_plugins"):
                names = {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
                assert names & set(check.packages), (name, node.module)
