"""Loads an ONNX file that hostile code may have written, inside a sandbox made for that.

Refuses external data, operators outside the standard domains, versions the serving runtime does not
take, more nodes than a model has, and a graph that does not run: one of ours on rows of missing
values, a stranger's on random tensors. What it reports about inputs and outputs is what the daemon
believes. Memory and time are the sandbox's business: a graph that needs too much is ended with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from trainbox_guest.run import Run
from trainbox_plugins.onnx_check import foreign
from trainbox_plugins.onnx_check.names import require_names
from trainbox_plugins.onnx_check.refusal import refuse
from trainbox_plugins.onnx_kit.rows import predict

MIN_IR_VERSION, MAX_IR_VERSION = 3, 13
MAX_BYTES = 2**31 - 1
"""No protobuf message is larger (https://protobuf.dev/programming-guides/proto-limits/)."""
MAX_NODES = 200_000
MAX_GRAPH_DEPTH = 16
MAX_OPSET = 26
MAX_ML_OPSET = 5
DOMAINS = {"": MAX_OPSET, "ai.onnx": MAX_OPSET, "ai.onnx.ml": MAX_ML_OPSET}
MISSING_DATETIME = np.iinfo(np.int64).min
PROBE_ROWS = (0, 1, 3)
MAX_PREVIEW_ROWS = 10
TYPES = frozenset({"number", "string", "boolean", "datetime"})
TOLERANCE = 1e-5

ELEMENT_TYPES = {
    "tensor(float)": ("number", np.float32),
    "tensor(double)": ("number", np.float64),
    "tensor(int64)": ("datetime", np.int64),
    "tensor(string)": ("string", np.object_),
    "tensor(bool)": ("boolean", np.bool_),
}


def main(run: Run) -> None:
    """Check the artifact behind ``DATASET_PATH``; the result holds its signature.

    Raises:
        GuestError: ``onnx_invalid`` with what is wrong.
    """
    path = run.dataset_path
    model = _load(path)
    _check_versions(model)
    nodes = _check_nodes(model)
    _check_external_data(model)
    session = _session(path, run.cpus)
    require_names(session)
    schema = _schema(session)
    if schema:
        for rows in PROBE_ROWS:
            _dry_run(session, rows)
        inputs = [_input(value, schema) for value in session.get_inputs()]
        outputs = [_output(value) for value in session.get_outputs()]
        preview = _preview(session, inputs, run.params.get("preview"))
    else:
        foreign.dry_run(session)
        inputs, outputs = foreign.inputs(session), foreign.outputs(session)
        preview = None  # a claim about rows of ours
    signature = {"inputs": inputs, "outputs": outputs}
    why = "" if schema else foreign.unserved(session)
    run.result(
        {
            "signature": {**signature, "unserved": why} if why else signature,
            "preview": preview,
            "ir_version": model.ir_version,
            "opsets": {item.domain or "ai.onnx": item.version for item in model.opset_import},
            "nodes": nodes,
        }
    )


def _load(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > MAX_BYTES:
        raise refuse(f"it is larger than {MAX_BYTES} bytes, which no ONNX file in one piece is")
    try:
        # Without external data: the check must not follow a path that the file names.
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises its own family for damaged bytes
        raise refuse(f"not an ONNX file: {type(error).__name__}: {error}") from error
    if not model.graph.node:
        raise refuse("not an ONNX file: its graph has no nodes")
    return model


def _check_versions(model: onnx.ModelProto) -> None:
    if model.ir_version > MAX_IR_VERSION:
        raise refuse(
            f"IR version {model.ir_version} is newer than {MAX_IR_VERSION}, the newest served",
            "pin ir_version to 10 when exporting",
        )
    if model.ir_version < MIN_IR_VERSION or not model.opset_import:
        raise refuse("it states no version of its format or of its operators")
    for opset in model.opset_import:
        newest = DOMAINS.get(opset.domain)
        if newest is None:
            raise refuse(f"operators of domain {opset.domain!r} cannot be served")
        if opset.version > newest:
            raise refuse(
                f"opset {opset.domain or 'ai.onnx'} {opset.version} is newer than {newest}",
                "export with an older opset",
            )
    if model.functions:
        raise refuse("model-local functions are not accepted", "inline them when exporting")
    if model.training_info:
        raise refuse("training information is not accepted", "export for inference")


def _check_nodes(model: onnx.ModelProto) -> int:
    """Return how many nodes there are, those of graphs inside graphs included."""
    count = 0
    for node in _nodes(model.graph, 1):
        count += 1
        if count > MAX_NODES:
            raise refuse(f"it has more than {MAX_NODES} nodes")
        if node.domain not in DOMAINS:
            raise refuse(f"operators of domain {node.domain!r} cannot be served")
    return count


def _nodes(graph: onnx.GraphProto, depth: int) -> Iterator[onnx.NodeProto]:
    if depth > MAX_GRAPH_DEPTH:
        raise refuse(f"its graphs are nested more than {MAX_GRAPH_DEPTH} deep")
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in _graphs(attribute):
                yield from _nodes(inner, depth + 1)


def _graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _check_external_data(model: onnx.ModelProto) -> None:
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise refuse(
                f"tensor {tensor.name!r} lies in another file",
                "store all weights inside the one file",
            )


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute)


def _attribute_tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [*attribute.sparse_tensors]
    if attribute.HasField("sparse_tensor"):
        sparse.append(attribute.sparse_tensor)
    for each in sparse:
        yield from (each.values, each.indices)
    for graph in _graphs(attribute):
        yield from _tensors(graph)


def _session(path: Path, cpus: float) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, round(cpus))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own family for graphs it refuses
        raise refuse(f"onnxruntime refuses it: {error}") from error


def _schema(session: Any) -> dict[str, dict[str, Any]]:
    text = session.get_modelmeta().custom_metadata_map.get("trainbox.schema", "")
    try:
        inputs = json.loads(text)["inputs"]
        return {str(item["name"]): item for item in inputs if item.get("type") in TYPES}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _input(value: Any, schema: dict[str, dict[str, Any]]) -> dict[str, Any]:
    kind, _ = ELEMENT_TYPES[value.type]
    stated = schema.get(value.name, {}).get("type")
    return {"name": value.name, "type": stated or kind, "dtype": value.type[7:-1]}


def _output(value: Any) -> dict[str, Any]:
    return {"name": value.name, "dtype": value.type[7:-1]}


def _dry_run(session: Any, rows: int) -> None:
    """Run rows in which every value is missing: the hardest row every column must take."""
    feed = {value.name: _missing(value, rows) for value in session.get_inputs()}
    try:
        outputs = session.run(None, feed)
    except Exception as error:  # whatever the graph makes onnxruntime raise
        raise refuse(f"it does not run on {rows} rows of missing values: {error}") from error
    for value, output in zip(session.get_outputs(), outputs, strict=True):
        if value.name != "classes" and (not hasattr(output, "shape") or output.shape[0] != rows):
            raise refuse(f"output {value.name!r} has not one entry per row for {rows} rows")


def _preview(
    session: Any, inputs: Sequence[Mapping[str, Any]], claimed: Any
) -> dict[str, Any] | None:
    """Return the claimed rows with what the file predicts for them here; None without a claim."""
    if not isinstance(claimed, dict):
        return None
    try:
        rows = claimed["rows"][:MAX_PREVIEW_ROWS]
        known = [{item["name"]: row[item["name"]] for item in inputs} for row in rows]
        predicted = predict(session, inputs, known)
        same = _alike(predicted, claimed["predictions"][:MAX_PREVIEW_ROWS])
    except Exception as error:  # a hostile claim, and whatever it makes onnxruntime raise
        raise refuse(f"its preview cannot be predicted: {type(error).__name__}: {error}") from error
    if not same:
        raise refuse("its preview is not what the file predicts")
    return {"source": str(claimed.get("source", ""))[:100], "rows": known, "predictions": predicted}


def _alike(here: Any, there: Any) -> bool:
    """Whether two predictions agree; sums of floats may differ by the order they were added in."""
    if isinstance(here, dict) and isinstance(there, dict):
        return here.keys() == there.keys() and all(_alike(here[key], there[key]) for key in here)
    if isinstance(here, list) and isinstance(there, list):
        return len(here) == len(there) and all(map(_alike, here, there))
    if isinstance(here, float) and isinstance(there, int | float):
        return math.isclose(here, there, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(here == there)


def _missing(value: Any, rows: int) -> Any:
    if value.type not in ELEMENT_TYPES:
        raise refuse(
            f"input {value.name!r} is a {value.type}",
            f"inputs are one of {', '.join(sorted(ELEMENT_TYPES))}",
        )
    if len(value.shape) not in (1, 2) or isinstance(value.shape[0], int):
        raise refuse(
            f"input {value.name!r} has shape {value.shape}", "one column per input: [N, 1] or [N]"
        )
    width = value.shape[1:] if all(isinstance(size, int) for size in value.shape[1:]) else [1]
    _, dtype = ELEMENT_TYPES[value.type]
    fill: Any = "" if dtype is np.object_ else np.nan
    if dtype is np.int64:
        fill = MISSING_DATETIME
    elif dtype is np.bool_:
        fill = False
    return np.full((rows, *width), fill, dtype=dtype)
