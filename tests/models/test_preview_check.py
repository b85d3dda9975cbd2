"""The check's sandbox tries a claimed preview again, and refuses an artifact that answers otherwise."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainbox_guest.run import GuestError
from trainbox_plugins.onnx_check.guest import main
from trainbox_plugins.onnx_kit.rows import predict, to_json
from trainbox_plugins.onnx_kit.session import open_session

INPUTS = [
    {"name": "age", "type": "number", "dtype": "float"},
    {"name": "city", "type": "string", "dtype": "string"},
    {"name": "when", "type": "datetime", "dtype": "int64"},
]
MISSING = -(2**63)


@pytest.fixture(scope="module")
def graph():
    """prediction = age + the city's code + days since 1970."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["", "Łódź"],
            values_floats=[-5.0, 10.0],
            default_float=-100.0,
        ),
        helper.make_node("Div", ["when", "day"], ["days"]),
        helper.make_node("Cast", ["days"], ["d"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["age", "code", "d"], ["prediction"]),
    ]
    kinds = {"age": TensorProto.FLOAT, "city": TensorProto.STRING, "when": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N", 1])]
    day = numpy_helper.from_array(np.array([[86400]], np.int64), "day")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, [day]), opset_imports=opsets, ir_version=8
    )
    return made.SerializeToString()


@pytest.fixture(scope="module")
def claim(graph):
    table = {
        "age": np.array([1.5, np.nan, 3], np.float32),
        "city": np.array(["Łódź", "", "x" * 2000], object),
        "when": np.array([2 * 86400, MISSING, 2**62], np.int64),
    }
    rows = to_json(INPUTS, table)
    assert rows[0] == {"age": 1.5, "city": "Łódź", "when": "1970-01-03T00:00:00+00:00"}
    assert rows[1] == {"age": None, "city": None, "when": None}
    assert (len(rows[2]["city"]), rows[2]["when"][:4]) == (1000, "9999")
    session = open_session(graph)
    predictions = predict(session, INPUTS, rows)
    assert [row["prediction"] for row in predictions[:2]] == [13.5, None]
    return {"source": "holdout", "rows": rows, "predictions": predictions}


@pytest.fixture
def check(graph, tmp_path):
    path = tmp_path / "model.onnx"
    model = onnx.load_from_string(graph)
    schema = {
        "key": "trainbox.schema",
        "value": '{"inputs": [{"name": "when", "type": "datetime"}]}',
    }
    model.metadata_props.add(**schema)
    path.write_bytes(model.SerializeToString())

    def run(preview):
        told = []
        main(
            SimpleNamespace(
                dataset_path=path, cpus=1.0, params={"preview": preview}, result=told.append
            )
        )
        return told[0]["preview"]

    return run


def test_a_true_preview_is_kept_as_predicted_here(check, claim):
    assert check(claim) == claim
    assert check(None) is None


def test_a_preview_is_short(check, claim):
    long = {key: value * 9 for key, value in claim.items() if key != "source"}
    found = check(long)
    assert (len(found["rows"]), len(found["predictions"]), found["source"]) == (10, 10, "")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c["predictions"][0].update(prediction=13.6),
        lambda c: c["predictions"][1].update(prediction=0.0),
        lambda c: c["predictions"][0].update(other=1),
        lambda c: c["predictions"].pop(),
        lambda c: c["rows"][0].update(age=2.5),
        lambda c: c["rows"][0].update(age="old"),
        lambda c: c["rows"][0].update(age=[1, 2]),
        lambda c: c["rows"][0].update(when="soon"),
        lambda c: c["rows"][0].update(when=5),
        lambda c: c["rows"][0].update(city={"a": 1}),
        lambda c: c["rows"][0].pop("age"),
        lambda c: c.update(rows=5),
        lambda c: c.update(rows=[5]),
        lambda c: c.pop("predictions"),
        lambda c: c.update(predictions="yes"),
    ],
    ids=range(15),
)
def test_another_preview_refuses_the_artifact(check, claim, spoil):
    spoilt = copy.deepcopy(claim)
    spoil(spoilt)
    with pytest.raises(GuestError) as refused:
        check(spoilt)
    assert "preview" in str(refused.value)
