"""Raw buffers to tensors, and back; runs in the predict worker."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainbox.workers import predict_wire as wire

MAX_RANK = 4
"""Dimensions of an output, and of an input."""

ROW_STATEMENT = "trainbox.rows"
"""Metadata key: ``independent`` says that a row's answer does not depend on its neighbours,
``together`` that it does. Without it, files with a ``trainbox.schema`` count as independent."""


class Unusable(Exception):
    """A graph whose inputs are not rows, or whose outputs are no tensors."""


class BadInput(ValueError):
    """One request's buffers are not what its input takes."""


class Graph:
    """One loaded model as a function from columns to tensors.

    Args:
        session: of onnxruntime.

    Raises:
        Unusable: an input is no column.
    """

    def __init__(self, session: Any) -> None:
        check_inputs(session.get_inputs())
        self._session = session
        self._inputs = session.get_inputs()
        self._outputs = session.get_outputs()
        self._names = [value.name for value in self._outputs]
        self._facts = session.get_modelmeta().custom_metadata_map
        stated = self._facts.get(ROW_STATEMENT)
        self.rows_are_independent = (
            stated == "independent" if stated else "trainbox.schema" in self._facts
        )

    def facts(self) -> dict[str, Any]:
        """Return what the daemon needs to know, as JSON values."""
        return {
            "inputs": [_spec(value) for value in self._inputs],
            "outputs": [_spec(value) for value in self._outputs],
            "classes": json.loads(self._facts.get("trainbox.classes", "null")),
            "independent": self.rows_are_independent,
        }

    def columns(self, item: wire.Item) -> list[Any]:
        """Return one request's columns: arrays, and lists of texts.

        Raises:
            BadInput: a buffer of another size, or texts that are none.
        """
        return [
            _column(value, buffer, item)
            for value, buffer in zip(self._inputs, item.buffers, strict=True)
        ]

    def together(self, run: wire.Run) -> list[Any] | None:
        """Return the columns of all requests of a run, or None if one must be looked at alone."""
        if any(run.packed) and len(run.rows) > 1:
            return None
        try:
            return [_shared_column(value, run, at) for at, value in enumerate(self._inputs)]
        except BadInput:
            return None

    def run(self, requests: Sequence[Sequence[Any]], rows: int) -> list[wire.Output]:
        """Run the model once on the columns of some requests, one behind the other.

        Raises:
            Unusable: an output is not a tensor of a known type.
        """
        feed = {
            value.name: _joined(value, [columns[at] for columns in requests])
            for at, value in enumerate(self._inputs)
        }
        found = self._session.run(None, feed)
        return [
            _output(value, output, rows) for value, output in zip(self._outputs, found, strict=True)
        ]

    def splits(self, outputs: Sequence[wire.Output]) -> bool:
        """Whether each request's part of the outputs can be told: all per row, or constant."""
        return all(
            output.per_row or _is_constant(value)
            for value, output in zip(self._outputs, outputs, strict=True)
        )


def check_inputs(inputs: Sequence[Any]) -> None:
    """Refuse inputs other than rows of a known element type: [N], [N, 1], or numbers as [N, 4, 4].

    Raises:
        Unusable: says which.
    """
    if not inputs:
        raise Unusable("the graph has no inputs")
    for value in inputs:
        if value.type not in wire.ONNX_TYPES:
            raise Unusable(f"input {value.name!r} is a {value.type}")
        if not value.shape or isinstance(value.shape[0], int):
            raise Unusable(
                f"input {value.name!r} has shape {value.shape}: export it with a first size that "
                "is free, for any number of rows"
            )
        sizes = value.shape[1:]
        one_column = sizes in ([], [1], [None])
        fixed = all(isinstance(size, int) and size > 0 for size in sizes)
        if not one_column and not (fixed and len(value.shape) <= MAX_RANK):
            raise Unusable(
                f"input {value.name!r} has shape {value.shape}, not [N], or rows of fixed size"
            )
        if not one_column and value.type == "tensor(string)":
            raise Unusable(f"input {value.name!r} has several texts in a row; one is served")


def row_shape(value: Any) -> tuple[int, ...]:
    """Return the sizes of one row of an input."""
    return tuple(size if isinstance(size, int) else 1 for size in value.shape[1:])


def row_bytes(value: Any) -> int:
    """Return the bytes of one row of an input of numbers."""
    return wire.WIDTHS[wire.ONNX_TYPES[value.type][0]] * math.prod(row_shape(value))


def _spec(value: Any) -> dict[str, Any]:
    datatype = wire.ONNX_TYPES.get(value.type, (value.type, ""))[0]
    shape = [size if isinstance(size, int) else -1 for size in value.shape]
    return {"name": value.name, "datatype": datatype, "shape": shape}


def _shared_column(value: Any, run: wire.Run, at: int) -> Any:
    """Return one input of all requests; what is said of a whole column holds for each of them.

    Raises:
        BadInput: one request's part of it is bad.
    """
    rows, sizes, buffer = run.rows, run.sizes[at], run.columns[at]
    datatype, _ = wire.ONNX_TYPES[value.type]
    if datatype == "BYTES":
        if run.packed[0]:
            return _texts(value, wire.unpack_texts, buffer, rows[0])
        return _texts(value, wire.read_each, buffer, rows, sizes)
    width = row_bytes(value)
    if list(sizes) != [width * count for count in rows]:
        raise BadInput(f"input {value.name!r} has a part of another size")
    return _numbers(value, buffer)


def _column(value: Any, buffer: wire.Buffer, item: wire.Item) -> Any:
    datatype, _ = wire.ONNX_TYPES[value.type]
    if datatype == "BYTES":
        read = wire.unpack_texts if item.packed else wire.read_texts
        return _texts(value, read, buffer, item.rows)
    wanted = item.rows * row_bytes(value)
    if len(buffer) != wanted:
        raise BadInput(f"input {value.name!r} has {len(buffer)} bytes, not {wanted}")
    return _numbers(value, buffer)


def _texts(value: Any, read: Callable[..., list[str]], *given: Any) -> list[str]:
    try:
        texts = read(*given)
    except ValueError as error:
        raise BadInput(f"input {value.name!r}: {error}") from error
    if "\0" in "".join(texts):
        raise BadInput(f"input {value.name!r}: texts must not hold a NUL character")
    return texts


def _numbers(value: Any, buffer: wire.Buffer) -> Any:
    datatype, code = wire.ONNX_TYPES[value.type]
    if datatype == "BOOL" and max(buffer, default=0) > 1:
        raise BadInput(f"input {value.name!r}: a BOOL is one byte, 0 or 1")
    return np.frombuffer(buffer, dtype=f"<{code}")


def _joined(value: Any, columns: Sequence[Any]) -> NDArray[Any]:
    if isinstance(columns[0], list):
        texts = columns[0] if len(columns) == 1 else [text for part in columns for text in part]
        tensor = np.array(texts, dtype=np.object_)
    else:
        tensor = columns[0] if len(columns) == 1 else np.concatenate(columns)
    return tensor.reshape(-1, *row_shape(value))


def _is_constant(value: Any) -> bool:
    return bool(value.shape) and isinstance(value.shape[0], int)


def _output(value: Any, output: Any, rows: int) -> wire.Output:
    if not isinstance(output, np.ndarray) or value.type not in wire.ONNX_TYPES:
        raise Unusable(f"output {value.name!r} is a {type(output).__name__}, not a tensor")
    if output.ndim > MAX_RANK:
        raise Unusable(f"output {value.name!r} has {output.ndim} dimensions")
    datatype = wire.ONNX_TYPES[value.type][0]
    per_row = output.ndim > 0 and output.shape[0] == rows and not _is_constant(value)
    if datatype != "BYTES":
        return wire.Output(datatype, output.shape, output.tobytes(), per_row)
    texts = [text.encode() for text in output.ravel().tolist()]
    offsets: Sequence[int] = ()
    if per_row:
        each = len(texts) // rows
        sizes = np.fromiter(map(len, texts), np.int64, len(texts)) + wire.LENGTH
        ends = np.concatenate(([0], np.cumsum(sizes)))
        offsets = ends[:: each or 1][: rows + 1].tolist() if each else [0] * (rows + 1)
    return wire.Output(datatype, output.shape, wire.write_texts(texts), per_row, offsets)
