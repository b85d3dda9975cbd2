"""Models that someone else exported: run once on random tensors, and described as they are.

They say nothing of columns, so an input is a column of numbers, texts or booleans, or where a row
is a list of fixed length, as in [N, 4], a ``tensor`` of that many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainbox_plugins.onnx_check.refusal import refuse

MAX_INPUTS = 1000
MAX_RANK = 8
MAX_ELEMENTS = 16_000_000
"""Of one input, with every free size at its largest try."""
FREE_SIZES = (1, 8)
"""What is tried for sizes that the file leaves open, until one of them runs."""
SEED = 20260101

MAX_SERVED_RANK = 4
"""Dimensions of an input that predictions take."""

_ELEMENTS: dict[str, tuple[str, Any]] = {
    "tensor(float)": ("number", np.float32),
    "tensor(double)": ("number", np.float64),
    "tensor(float16)": ("number", np.float16),
    "tensor(int64)": ("number", np.int64),
    "tensor(int32)": ("number", np.int32),
    "tensor(int16)": ("number", np.int16),
    "tensor(int8)": ("number", np.int8),
    "tensor(uint64)": ("number", np.uint64),
    "tensor(uint32)": ("number", np.uint32),
    "tensor(uint16)": ("number", np.uint16),
    "tensor(uint8)": ("number", np.uint8),
    "tensor(bool)": ("boolean", np.bool_),
    "tensor(string)": ("string", np.object_),
}


def dry_run(session: Any) -> None:
    """Run the model on random tensors of the shapes it states.

    Raises:
        GuestError: an input or output is none that can be served, or it does not run.
    """
    given = session.get_inputs()
    if not 0 < len(given) <= MAX_INPUTS:
        raise refuse(f"it has {len(given)} inputs, not 1 to {MAX_INPUTS}")
    for value in given:
        _require_input(value)
    for value in session.get_outputs():
        if value.type not in _ELEMENTS:
            raise refuse(
                f"output {value.name!r} is a {value.type}, not a tensor",
                "with skl2onnx, export with options={'zipmap': False}",
            )
    problem = ""
    for size in FREE_SIZES:
        problem = _try(session, size)
        if not problem:
            return
    raise refuse(f"it does not run on random tensors: {problem}")


def inputs(session: Any) -> list[dict[str, Any]]:
    """Return the inputs of a signature, with ``row``, the sizes of a row that is a list."""
    return [_input(value) for value in session.get_inputs()]


def outputs(session: Any) -> list[dict[str, Any]]:
    """Return the outputs of a signature."""
    return [
        {"name": value.name, "dtype": value.type[7:-1], "shape": _shape(value)}
        for value in session.get_outputs()
    ]


def unserved(session: Any) -> str:
    """Return why predictions cannot take this model's inputs; empty where they can."""
    for value in session.get_inputs():
        if not value.shape or isinstance(value.shape[0], int):
            return (
                f"its input {value.name!r} has the fixed shape {_shape(value)}; export it with a "
                "first size that is free, for any number of rows"
            )
        row = tuple(value.shape[1:])
        if row in {(), (None,)} or (len(row) == 1 and isinstance(row[0], str)):
            continue
        if _row(value.shape) is None or len(value.shape) > MAX_SERVED_RANK:
            return f"its input {value.name!r} has rows without a fixed size: {_shape(value)}"
        if value.type == "tensor(string)" and math.prod(row) != 1:
            return f"its input {value.name!r} has several texts in a row"
    return ""


def _require_input(value: Any) -> None:
    if value.type not in _ELEMENTS:
        raise refuse(f"input {value.name!r} is a {value.type}", "inputs are dense tensors")
    if len(value.shape) > MAX_RANK:
        raise refuse(f"input {value.name!r} has {len(value.shape)} dimensions, over {MAX_RANK}")
    if math.prod(_sizes(value, FREE_SIZES[-1])) > MAX_ELEMENTS:
        raise refuse(f"input {value.name!r} has shape {value.shape}, over {MAX_ELEMENTS} elements")


def _try(session: Any, free: int) -> str:
    """Run once; return what went wrong."""
    random = np.random.default_rng(SEED)
    feed = {value.name: _tensor(value, free, random) for value in session.get_inputs()}
    try:
        found = session.run(None, feed)
    except Exception as error:  # noqa: BLE001 - whatever the graph makes onnxruntime raise
        return f"{type(error).__name__}: {error}"[:1000]
    for value, output in zip(session.get_outputs(), found, strict=True):
        if not isinstance(output, np.ndarray):
            return f"output {value.name!r} is a {type(output).__name__}, not a tensor"
    return ""


def _tensor(value: Any, free: int, random: np.random.Generator) -> Any:
    _, dtype = _ELEMENTS[value.type]
    sizes = _sizes(value, free)
    if dtype is np.object_:
        return np.full(sizes, "a", dtype=dtype)
    if np.issubdtype(dtype, np.floating):
        return random.standard_normal(sizes).astype(dtype)
    return random.integers(0, 2, sizes).astype(dtype)  # 0 and 1 are places in most tables


def _sizes(value: Any, free: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) and size > 0 else free for size in value.shape)


def _input(value: Any) -> dict[str, Any]:
    kind, _ = _ELEMENTS[value.type]
    dtype = value.type[7:-1]
    made = {"name": value.name, "type": kind, "dtype": dtype, "shape": _shape(value)}
    row = _row(value.shape)
    if row is not None and math.prod(row) != 1 and kind == "number":
        made |= {"type": "tensor", "row": list(row)}
    return made


def _row(shape: Sequence[Any]) -> tuple[int, ...] | None:
    """Return the sizes of one row, or None where they are not fixed."""
    sizes = tuple(shape[1:])
    return sizes if all(isinstance(size, int) and size > 0 for size in sizes) else None


def _shape(value: Any) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in value.shape]
