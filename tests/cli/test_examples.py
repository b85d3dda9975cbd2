"""The examples run: the script against the real HTTP layer, the comparison against real ONNX files."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainbox_sdk.testing.fake_engine import ONNX_BYTES

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(environ, tmp_path):
    def call(**env):
        return subprocess.run(
            ["bash", EXAMPLES / "train_and_predict.sh", tmp_path / "loans"],
            env=environ | env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return call


def test_the_script_goes_the_whole_way_and_again(script, daemon, tmp_path):
    daemon.engine.autorun = True
    done = script()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["prediction"] == "yes"
    assert (tmp_path / "loans" / "model.onnx").read_bytes() == ONNX_BYTES
    header, *rows = (tmp_path / "loans" / "loans.csv").read_text(encoding="utf-8").splitlines()
    assert (len(header.split(",")), len(rows)) == (8, 600)
    assert any(",," in row for row in rows)
    table = (tmp_path / "loans" / "loans.csv").read_bytes()
    assert script().returncode == 0
    assert (tmp_path / "loans" / "loans.csv").read_bytes() == table
    assert "progress" in done.stderr


def test_the_script_shows_what_the_daemon_refuses(script, daemon):
    done = script(TRAINBOX_TOKEN="wrong")
    assert done.returncode == 1
    assert "401 unauthenticated" in done.stderr
    assert done.stdout == ""


def test_the_token_is_not_in_any_argument(script, daemon):
    text = (EXAMPLES / "train_and_predict.sh").read_text(encoding="utf-8")
    assert "Authorization: Bearer %s" in text
    assert text.count("Authorization") == 1


def number_model(path, factor):
    """Write a model that says factor times its one number; it has an input of each type."""
    inputs = [
        helper.make_tensor_value_info(name, element, ["N", 1])
        for name, element in [("x", TensorProto.FLOAT), ("flag", TensorProto.FLOAT),
                              ("word", TensorProto.STRING), ("day", TensorProto.INT64)]
    ]  # fmt: skip
    output = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N", 1])
    weight = numpy_helper.from_array(np.array([factor], np.float32), "factor")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["prediction"])], "g", inputs, [output], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    types = {"x": "number", "flag": "boolean", "word": "string", "day": "datetime"}
    schema = {"inputs": [{"name": name, "type": kind} for name, kind in types.items()]}
    model.metadata_props.add(key="trainbox.schema", value=json.dumps(schema))
    onnx.save(model, path)


@pytest.fixture
def folder(tmp_path):
    number_model(tmp_path / "model.onnx", 2.0)
    rows = [{"x": 1.5, "flag": True, "word": "ü", "day": "2024-02-29"},
            {"x": 4.0, "flag": None, "word": None, "day": None}]  # fmt: skip
    (tmp_path / "rows.json").write_text(json.dumps({"rows": rows}))
    return tmp_path


def compare(folder, predictions):
    answer = {"rows": [{"prediction": value} for value in predictions]}
    (folder / "answer.json").write_text(json.dumps(answer))
    argv = [sys.executable, EXAMPLES / "bare_onnxruntime.py", folder]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120)


def test_equal_numbers_pass(folder):
    done = compare(folder, [3.0, 8.0])
    assert done.returncode == 0, done.stderr
    assert "2 rows, largest difference 0.00e+00" in done.stdout


@pytest.mark.parametrize("predictions", [[3.0, 8.001], [8.0, 3.0], [3.0], [3.0, 8.0, 1.0]])
def test_other_numbers_and_other_counts_fail(folder, predictions):
    assert compare(folder, predictions).returncode == 1


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    argv = [sys.executable, EXAMPLES / "bare_onnxruntime.py", tmp_path / "nothing"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no model.onnx, rows.json, answer.json; examples/train_and_predict.sh" in done.stderr
    assert "Traceback" not in done.stderr


def bare():
    spec = importlib.util.spec_from_file_location("bare", EXAMPLES / "bare_onnxruntime.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_missing_values_are_written_as_the_convention_says():
    spec = importlib.util.spec_from_file_location("bare", EXAMPLES / "bare_onnxruntime.py")
    bare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bare)
    assert np.isnan(bare.column([None], "number")[0, 0])
    assert bare.column([True, False], "boolean").tolist() == [[1.0], [0.0]]
    assert bare.column([None, "a"], "string").tolist() == [[""], ["a"]]
    assert bare.column([None], "datetime")[0, 0] == np.iinfo(np.int64).min
    assert bare.column(["1970-01-02", "1970-01-01T01:00:00+01:00"], "datetime").tolist() == [
        [86400],
        [0],
    ]


def test_the_sample_data_is_what_its_script_makes():
    spec = importlib.util.spec_from_file_location("make", SCRIPTS / "make_customers.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.make_text().encode() == make.TARGET.read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01.9", 1),
        ("1969-12-31T23:59:59.5", -1),
        ("1969-12-31T23:59:58.000001+00:00", -2),
        ("1969-12-31", -86400),
    ],
)
def test_times_are_rounded_down_to_seconds_also_before_1970(text, expected):
    assert bare().seconds(text) == expected
