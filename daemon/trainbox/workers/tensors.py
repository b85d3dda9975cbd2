"""Columns of JSON values to tensors, and back; runs in the predict worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING_DATETIME = np.iinfo(np.int64).min

ELEMENTS: Mapping[str, tuple[Any, Any]] = {
    "tensor(float)": (np.float32, np.nan),
    "tensor(double)": (np.float64, np.nan),
    "tensor(float16)": (np.float16, np.nan),
    "tensor(int64)": (np.int64, MISSING_DATETIME),
    "tensor(int32)": (np.int32, None),
    "tensor(int16)": (np.int16, None),
    "tensor(int8)": (np.int8, None),
    "tensor(uint8)": (np.uint8, None),
    "tensor(bool)": (np.bool_, None),
    "tensor(string)": (np.object_, ""),
}
"""ONNX element type to NumPy's, and what stands for a missing value where the type has one."""

MAX_RANK = 2


class Unusable(Exception):
    """A graph whose inputs are not one column each."""


def check_inputs(inputs: Sequence[Any]) -> None:
    """Refuse inputs other than one column each: [N] or [N, 1] of a known element type.

    Raises:
        Unusable: says which.
    """
    if not inputs:
        raise Unusable("the graph has no inputs")
    for value in inputs:
        if value.type not in ELEMENTS:
            raise Unusable(f"input {value.name!r} is a {value.type}")
        one_column = len(value.shape) == 1 or value.shape[1:] in ([1], [None])
        if not one_column or isinstance(value.shape[0], int):
            raise Unusable(f"input {value.name!r} has shape {value.shape}, not [N, 1] or [N]")


def feed_of(inputs: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> dict[str, NDArray[Any]]:
    """Return what onnxruntime takes for the given columns."""
    return {value.name: _tensor(value, columns[value.name]) for value in inputs}


def _tensor(value: Any, column: Sequence[Any]) -> NDArray[Any]:
    dtype, missing = ELEMENTS[value.type]
    filled = [missing if item is None else item for item in column] if None in column else column
    tensor = np.array(filled, dtype=dtype)
    return tensor if len(value.shape) == 1 else tensor.reshape(-1, 1)


def jsonable(output: Any) -> Any:
    """Return an output as JSON values: nested lists, null for what is not a finite number.

    Raises:
        Unusable: not a tensor.
    """
    if not isinstance(output, np.ndarray):
        raise Unusable(f"an output is a {type(output).__name__}, not a tensor")
    if output.dtype.kind == "f" and not np.isfinite(output).all():
        values = output.astype(np.object_)
        values[~np.isfinite(output)] = None
        return values.tolist()
    return output.tolist()
