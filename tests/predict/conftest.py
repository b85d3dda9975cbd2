"""Real ONNX models, small enough to read, and a predictor that runs them in real workers."""

import datetime
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from trainbox.engine.predict import Predictor
from trainbox_sdk.artifacts import ModelView

MIB = 1024**2
NONE = -(2**63)


def column(name, element):
    return helper.make_tensor_value_info(name, element, ["N", 1])


def constant(name, values, dtype):
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def build(nodes, inputs, outputs, initializers=(), metadata=None):
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return model


def mixed():
    """prediction = age (-1 if missing) + 1000 * member + city's code + days since 1970 (-7)."""
    nodes = [
        helper.make_node("IsNaN", ["age"], ["no_age"]),
        helper.make_node("Where", ["no_age", "minus_one", "age"], ["a"]),
        helper.make_node("IsNaN", ["member"], ["no_member"]),
        helper.make_node("Where", ["no_member", "zero", "member"], ["m"]),
        helper.make_node("Mul", ["m", "thousand"], ["m1000"]),
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["c"],
            domain="ai.onnx.ml",
            keys_strings=["", "Paris", "København"],
            values_floats=[-5.0, 10.0, 20.0],
            default_float=-100.0,
        ),
        helper.make_node("Equal", ["when", "none"], ["no_when"]),
        helper.make_node("Div", ["when", "day"], ["days"]),
        helper.make_node("Where", ["no_when", "minus_seven", "days"], ["d"]),
        helper.make_node("Cast", ["d"], ["df"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["a", "m1000", "c", "df"], ["prediction"]),
    ]
    inputs = [
        column("age", TensorProto.FLOAT),
        column("member", TensorProto.FLOAT),
        column("city", TensorProto.STRING),
        column("when", TensorProto.INT64),
    ]
    initializers = [
        constant("minus_one", [[-1]], np.float32),
        constant("zero", [[0]], np.float32),
        constant("thousand", [[1000]], np.float32),
        constant("none", [[NONE]], np.int64),
        constant("day", [[86400]], np.int64),
        constant("minus_seven", [[-7]], np.int64),
    ]
    return build(nodes, inputs, [column("prediction", TensorProto.FLOAT)], initializers)


def classifier(labels, element, *, output_classes=True):
    """Class 1 with probability sigmoid(x), NaN for a missing x."""
    keyword = {TensorProto.STRING: "values_strings", TensorProto.INT64: "values_int64s"}
    last = (
        helper.make_node("Cast", ["index"], ["prediction"], to=TensorProto.BOOL)
        if element == TensorProto.BOOL
        else helper.make_node(
            "LabelEncoder",
            ["index"],
            ["prediction"],
            domain="ai.onnx.ml",
            keys_int64s=[0, 1],
            **{keyword[element]: labels},
        )
    )
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["p1"]),
        helper.make_node("Sub", ["one", "p1"], ["p0"]),
        helper.make_node("Concat", ["p0", "p1"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["index"], axis=1, keepdims=1),
        last,
    ]
    outputs = [
        column("prediction", element),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    initializers = [constant("one", [[1]], np.float32)]
    if output_classes:
        nodes.append(helper.make_node("Identity", ["labels"], ["classes"]))
        outputs.append(helper.make_tensor_value_info("classes", element, [2]))
        initializers.append(
            helper.make_tensor(
                "labels",
                element,
                [2],
                [label.encode() if isinstance(label, str) else label for label in labels],
            )
        )
    metadata = {"trainbox.classes": json.dumps(labels)}
    return build(nodes, [column("x", TensorProto.FLOAT)], outputs, initializers, metadata)


def spender():
    """Turns ``loops`` turns and fills ``bytes`` bytes, as many as the request says."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("Sin", ["v_in"], ["v_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_in", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, [1]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["loops"], ["l1"], keepdims=0),
        helper.make_node("Cast", ["l1"], ["trips"], to=TensorProto.INT64),
        helper.make_node("Loop", ["trips", "yes", "seed"], ["turned"], body=body),
        helper.make_node("ReduceMax", ["bytes"], ["b1"], keepdims=0),
        helper.make_node("Cast", ["b1"], ["b2"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["b2", "flat"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["block"]),
        helper.make_node("ReduceSum", ["block"], ["filled"], keepdims=0),
        helper.make_node("Add", ["filled", "turned"], ["extra"]),
        helper.make_node("Mul", ["extra", "zero"], ["nothing"]),
        helper.make_node("Add", ["loops", "nothing"], ["prediction"]),
    ]
    inputs = [column("loops", TensorProto.FLOAT), column("bytes", TensorProto.FLOAT)]
    initializers = [
        constant("yes", True, np.bool_),
        constant("seed", [1], np.float32),
        constant("flat", [1], np.int64),
        constant("zero", [0], np.float32),
    ]
    return build(nodes, inputs, [column("prediction", TensorProto.FLOAT)], initializers)


def flat():
    """[N] in, [N] and [N, 2] out, names of its own."""
    nodes = [
        helper.make_node("Add", ["a", "a"], ["double"]),
        helper.make_node("Reshape", ["a", "shape"], ["a1"]),
        helper.make_node("Reshape", ["double", "shape"], ["d1"]),
        helper.make_node("Concat", ["a1", "d1"], ["both"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N"])]
    outputs = [
        helper.make_tensor_value_info("double", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("both", TensorProto.FLOAT, ["N", 2]),
    ]
    return build(nodes, inputs, outputs, [constant("shape", [-1, 1], np.int64)])


def strict_types():
    """prediction = n + b, of int64 and bool tensors."""
    nodes = [
        helper.make_node("Cast", ["b"], ["bi"], to=TensorProto.INT64),
        helper.make_node("Add", ["n", "bi"], ["prediction"]),
    ]
    inputs = [column("n", TensorProto.INT64), column("b", TensorProto.BOOL)]
    return build(nodes, inputs, [column("prediction", TensorProto.INT64)])


def picky():
    """Takes one row at a time, which its signature does not say."""
    nodes = [helper.make_node("Reshape", ["x", "one"], ["prediction"])]
    one = constant("one", [1, 1], np.int64)
    return build(nodes, [column("x", 1)], [column("prediction", 1)], [one])


@pytest.fixture
def models():
    """The builders above, by name."""
    return SimpleNamespace(
        build=build,
        mixed=mixed,
        classifier=classifier,
        spender=spender,
        flat=flat,
        strict_types=strict_types,
        picky=picky,
    )


KINDS = {1: "number", 7: "datetime", 8: "string", 9: "boolean", 11: "number"}
DTYPES = {1: "float", 7: "int64", 8: "string", 9: "bool", 11: "double"}


def signature(model, kinds=None):
    inputs = [
        {
            "name": value.name,
            "type": (kinds or {}).get(value.name, KINDS[value.type.tensor_type.elem_type]),
            "dtype": DTYPES[value.type.tensor_type.elem_type],
        }
        for value in model.graph.input
    ]
    return {"inputs": inputs, "outputs": [{"name": value.name} for value in model.graph.output]}


class Shelf:
    """Files of models under their digest, and the views of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put_bytes(self, data: bytes, sign) -> tuple[ModelView, Path]:
        name = hashlib.sha256(data).hexdigest()
        path = self.folder / name
        path.write_bytes(data)
        view = ModelView(
            id=f"model_{name[:8]}",
            name="m",
            version=1,
            job_id="job",
            task="test",
            artifact_id="artifact",
            digest=f"sha256:{name}",
            bytes=len(data),
            dataset_id=None,
            signature=sign,
            metrics={},
            parity={},
            aliases=(),
            created_at=datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        )
        return view, path

    def put(self, model: onnx.ModelProto, kinds=None) -> tuple[ModelView, Path]:
        return self.put_bytes(model.SerializeToString(), signature(model, kinds))


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


@pytest.fixture
async def make_predictor():
    made = []

    def make(**settings):
        settings = {
            "max_workers": 2,
            "memory_bytes": 512 * MIB,
            "timeout_s": 60.0,
            "load_timeout_s": 120.0,
            **settings,
        }
        made.append(Predictor(**settings))
        return made[-1]

    yield make
    for predictor in made:
        await predictor.close()


@pytest.fixture
def predictor(make_predictor):
    return make_predictor()
