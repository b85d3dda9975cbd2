"""A small ONNX graph builder with pinned versions.

``onnx.helper.make_model`` writes the newest IR and operator sets of the installed onnx, which the
installed onnxruntime may refuse. Every graph here declares the oldest IR that allows the operators
it uses, so that old and new runtimes both load it.

Reference: ONNX documentation, "ONNX Versioning" (IR 8 belongs to ai.onnx 18 and ai.onnx.ml 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

IR_VERSION = 8
OPSET = 18
ML_OPSET = 3
ML = "ai.onnx.ml"
BATCH = "N"

_CHUNK = 1 << 20  # of elements turned into Python numbers at once

_ELEMENT_TYPES: Mapping[str, int] = {
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}


def element_type(array: NDArray[Any]) -> str:
    """Return the ONNX word for an array's dtype; object arrays hold strings."""
    if array.dtype.kind in "OU":
        return "string"
    words = {"float32": "float", "float64": "double", "int64": "int64", "bool": "bool"}
    return words[array.dtype.name]


class GraphBuilder:
    """Collects inputs, nodes and outputs, and names every value in between.

    Args:
        reserved: names taken by inputs and outputs; inner values never use them.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = set(reserved)
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, element: str, shape: Sequence[str | int]) -> str:
        """Declare a graph input and return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, _ELEMENT_TYPES[element], shape))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Store an array in the graph and return its name; object arrays hold strings."""
        name = self._fresh("constant")
        if array.dtype.kind in "OU":
            encoded = [str(item).encode() for item in array.ravel()]
            tensor = helper.make_tensor(name, TensorProto.STRING, array.shape, encoded)
        else:
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._initializers.append(tensor)
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output and return the output's name.

        Numpy arrays of integers or floats become list attributes without a copy per element.
        """
        name = self._fresh(op)
        self._append(op, inputs, name, domain, attributes)
        return name

    def cast(self, value: str, element: str) -> str:
        """Add a Cast to ``element``."""
        return self.node("Cast", value, to=_ELEMENT_TYPES[element])

    def concat(self, values: Sequence[str]) -> str:
        """Join columns; a single one passes as it is."""
        return values[0] if len(values) == 1 else self.node("Concat", *values, axis=1)

    def columns(self, matrix: str, indices: Sequence[int]) -> str:
        """Pick columns of a [N, K] matrix, in order."""
        return self.node("Gather", matrix, self.constant(np.asarray(indices, np.int64)), axis=1)

    def output(self, name: str, value: str, element: str, shape: Sequence[str | int]) -> None:
        """Declare a graph output which is the value called ``value``."""
        self._append("Identity", (value,), name, "", {})
        self._outputs.append(helper.make_tensor_value_info(name, _ELEMENT_TYPES[element], shape))

    def build(self, *, producer: str, metadata: Mapping[str, str]) -> bytes:
        """Return the checked, serialised model.

        Raises:
            onnx.checker.ValidationError: the graph breaks the specification.
        """
        graph = helper.make_graph(
            self._nodes, "pipeline", self._inputs, self._outputs, self._initializers
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(
            graph, ir_version=IR_VERSION, opset_imports=opsets, producer_name=producer
        )
        for key in sorted(metadata):
            model.metadata_props.add(key=key, value=metadata[key])
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def _append(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        domain: str,
        attributes: Mapping[str, Any],
    ) -> None:
        node = helper.make_node(op, inputs, [output], domain=domain)
        node.attribute.extend(_attribute(key, attributes[key]) for key in sorted(attributes))
        self._nodes.append(node)

    def _fresh(self, stem: str) -> str:
        while True:
            self._count += 1
            name = f"/{stem}_{self._count}"
            if name not in self._taken:
                return name


def with_metadata(model: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return the model with more ``metadata_props``."""
    document = onnx.load_from_string(model)
    for key in sorted(metadata):
        document.metadata_props.add(key=key, value=metadata[key])
    return bytes(document.SerializeToString())


def _attribute(name: str, value: Any) -> Any:
    # helper.make_attribute inspects every element in Python: seconds for a million tree nodes.
    if not isinstance(value, np.ndarray):
        return helper.make_attribute(name, value)
    attribute = onnx.AttributeProto(name=name)
    whole = value.dtype.kind == "i"
    attribute.type = onnx.AttributeProto.INTS if whole else onnx.AttributeProto.FLOATS
    field = attribute.ints if whole else attribute.floats
    for start in range(0, len(value), _CHUNK):
        field.extend(value[start : start + _CHUNK].tolist())
    return attribute
