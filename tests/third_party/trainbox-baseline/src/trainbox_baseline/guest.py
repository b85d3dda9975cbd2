"""Runs in the sandbox: statistics by DuckDB, the model as an ONNX graph, scores on held-out rows.

One row in five is held out for the scores; the model itself is made from all rows.
"""

from __future__ import annotations

import json
import math
from typing import Any

import duckdb
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from trainbox_guest.run import GuestError, Run

ELEMENTS = {
    "number": TensorProto.FLOAT,
    "boolean": TensorProto.FLOAT,
    "string": TensorProto.STRING,
    "datetime": TensorProto.INT64,
}
HELD_OUT = 5
LARGEST_ERROR = 1e-5


def main(run: Run) -> None:
    """Make ``model.onnx`` from the dataset.

    Raises:
        GuestError: unreadable data, no values, or a graph that does not give the statistics back.
    """
    table = _read(run)
    params, inputs = run.params, _inputs(run)
    run.emit.progress(0.2, message="the data is read")
    metrics = _scores(table, params)
    for name, value in metrics.items():
        run.emit.metric(name, value)
    overall, groups = _statistics(table, params, "TRUE")
    model = _graph(inputs, params.get("by"), overall, groups)
    run.emit.progress(0.8, message=f"{len(groups)} groups")
    parity = _parity(model, inputs, params.get("by"), overall, groups)
    if not parity["passed"]:
        raise GuestError("parity_failed", f"the graph is off by {parity['worst']['prediction']}")
    (run.output_path / "model.onnx").write_bytes(model.SerializeToString())
    run.emit.progress(1.0)
    run.result({"metrics": metrics, "signature": _signature(inputs), "parity": parity})


def _read(run: Run) -> duckdb.DuckDBPyConnection:
    table = duckdb.connect(config={"threads": max(1, round(run.cpus))})
    by = run.params.get("by")
    group = _quoted(by) if by else "NULL"
    try:
        table.execute(
            f"CREATE TABLE data AS SELECT {_quoted(run.params['target'])}::DOUBLE AS y, "
            f"nullif({group}::VARCHAR, '') AS g, file_row_number % {HELD_OUT} = 0 AS held_out "
            "FROM read_parquet(?, file_row_number = true) WHERE y IS NOT NULL AND isfinite(y)",
            [str(run.dataset_path)],
        )
    except duckdb.Error as error:
        raise GuestError("data_unreadable", f"the data cannot be read: {error}") from error
    return table


def _statistics(
    table: duckdb.DuckDBPyConnection, params: dict[str, Any], rows: str
) -> tuple[float, dict[str, float]]:
    """Return the statistic of all and of each group, over the rows that fulfil a condition."""
    function = {"mean": "avg", "median": "median"}[params["statistic"]]
    (overall,) = table.execute(f"SELECT {function}(y) FROM data WHERE {rows}").fetchall()[0]
    if overall is None:
        raise GuestError("no_values", f"column {params['target']!r} has no finite values")
    groups = table.execute(
        f"SELECT g, {function}(y) FROM data WHERE g IS NOT NULL AND ({rows}) GROUP BY g ORDER BY g"
    ).fetchall()
    return float(overall), {str(name): float(value) for name, value in groups}


def _scores(table: duckdb.DuckDBPyConnection, params: dict[str, Any]) -> dict[str, float]:
    overall, groups = _statistics(table, params, "NOT held_out")
    rows = table.execute("SELECT y, g FROM data WHERE held_out").fetchall()
    if not rows:
        raise GuestError("no_values", "no rows are left to score on")
    errors = [y - groups.get(g, overall) for y, g in rows]
    return {
        "rmse": math.sqrt(sum(error * error for error in errors) / len(errors)),
        "mae": sum(abs(error) for error in errors) / len(errors),
    }


def _inputs(run: Run) -> list[tuple[str, str]]:
    """Return name and type of every column but the target: the rows a real model would get."""
    columns = run.job["columns"]
    return [
        (column["name"], column["type"])
        for column in columns
        if column["name"] != run.params["target"]
    ]


def _graph(
    inputs: list[tuple[str, str]], by: str | None, overall: float, groups: dict[str, float]
) -> onnx.ModelProto:
    if by is None:
        shape = helper.make_node("Shape", [inputs[0][0]], ["shape"])
        value = helper.make_tensor("value", TensorProto.FLOAT, [1, 1], [overall])
        constant = helper.make_node("Constant", [], ["statistic"], value=value)
        nodes = [
            shape,
            constant,
            helper.make_node("Expand", ["statistic", "shape"], ["prediction"]),
        ]
    else:
        nodes = [
            helper.make_node(
                "LabelEncoder",
                [by],
                ["prediction"],
                domain="ai.onnx.ml",
                keys_strings=list(groups) or [""],
                values_floats=list(groups.values()) or [overall],
                default_float=overall,
            )
        ]
    graph = helper.make_graph(
        nodes,
        "baseline",
        [helper.make_tensor_value_info(name, ELEMENTS[kind], ["N", 1]) for name, kind in inputs],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N", 1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, {"trainbox.schema": json.dumps(_signature(inputs))})
    onnx.checker.check_model(model)
    return model


def _signature(inputs: list[tuple[str, str]]) -> dict[str, Any]:
    dtypes = {"number": "float", "boolean": "float", "string": "string", "datetime": "int64"}
    return {
        "inputs": [{"name": name, "type": kind, "dtype": dtypes[kind]} for name, kind in inputs],
        "outputs": [{"name": "prediction", "type": "number", "dtype": "float"}],
    }


def _parity(
    model: onnx.ModelProto,
    inputs: list[tuple[str, str]],
    by: str | None,
    overall: float,
    groups: dict[str, float],
) -> dict[str, Any]:
    """Ask the graph for every group, a group never seen and a gap; compare with the statistics."""
    asked = [*groups, "a group never seen", ""]
    expected = np.array([groups.get(name, overall) if by else overall for name in asked])
    blank = {"number": np.nan, "boolean": np.nan, "string": "", "datetime": np.iinfo(np.int64).min}
    types = {"number": np.float32, "boolean": np.float32, "string": object, "datetime": np.int64}
    feed = {
        name: np.array(asked if name == by else [blank[kind]] * len(asked), dtype=types[kind])
        for name, kind in inputs
    }
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {name: values.reshape(-1, 1) for name, values in feed.items()})
    error = float(np.max(np.abs(got.ravel() - expected)))
    allowed = LARGEST_ERROR * max(1.0, float(np.max(np.abs(expected))))
    return {
        "passed": error <= allowed,
        "rows": len(asked),
        "tolerance": allowed,
        "worst": {"prediction": error},
    }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
