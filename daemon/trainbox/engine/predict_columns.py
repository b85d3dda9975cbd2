"""Columns of checked JSON values to what a worker takes, and a worker's outputs to JSON values."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainbox.engine.predict_refusals import unusable
from trainbox.workers import predict_wire as wire
from trainbox.workers.predict_process import TensorFacts

MISSING_DATETIME = -(2**63)

MISSING: Mapping[str, Any] = {
    "FP16": math.nan,
    "FP32": math.nan,
    "FP64": math.nan,
    "INT64": MISSING_DATETIME,
    "BYTES": "",
}
"""What stands for a missing value, where the type has one."""
MANY = 64
"""Rows from which texts go as all lengths and then all bytes, which is faster to read."""
_ONE: Mapping[str, Callable[..., bytes]] = {
    datatype: struct.Struct(f"<{wire.CODES[datatype]}").pack
    for datatype in ("FP32", "FP64", "INT64", "INT32")
}
"""Packs a column of one value."""


def pack(
    columns: Mapping[str, Sequence[Any]], rows: int, inputs: Sequence[TensorFacts]
) -> wire.Item:
    """Return columns, None where missing, as a request to the worker.

    Raises:
        Unavailable: the file takes other inputs than the signature that the columns follow.
    """
    if len(columns) != len(inputs) or not all(each.name in columns for each in inputs):
        raise unusable("its inputs are not those of its signature")
    if rows < MANY:  # in the layout of the protocol's requests, so that they share runs with them
        return wire.Item(rows, [_small_buffer(each, columns[each.name]) for each in inputs])
    return wire.Item(rows, [_buffer(each, columns[each.name]) for each in inputs], packed=True)


def _small_buffer(fact: TensorFacts, column: Sequence[Any]) -> bytes:
    """Return a column as :func:`_buffer` does, each text behind its length."""
    one = len(column) == 1 and fact.width == 1
    if one and (value := column[0]) is not None and fact.datatype in _ONE:
        try:
            return _ONE[fact.datatype](value)
        except (TypeError, struct.error, OverflowError):
            pass  # said below, as for several rows
    if fact.datatype != "BYTES":
        return _buffer(fact, column)
    try:
        return wire.write_texts([b"" if value is None else value.encode() for value in column])
    except AttributeError as error:
        raise unusable(f"its input {fact.name!r} is not that of its signature: {error}") from error


def _buffer(fact: TensorFacts, column: Sequence[Any]) -> bytes:
    try:
        if fact.width != 1:
            column = [value for row in column for value in row]
        if None in column:
            missing = MISSING[fact.datatype]
            column = [missing if value is None else value for value in column]
        return pack_values(fact.datatype, column)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, struct.error) as error:
        raise unusable(f"its input {fact.name!r} is not that of its signature: {error}") from error


def pack_values(datatype: str, values: Sequence[Any]) -> bytes:
    """Return values of one type as the processor holds them; texts with their lengths in front.

    Raises:
        TypeError, ValueError, OverflowError, AttributeError, struct.error: values of another type.
    """
    if datatype == "BYTES":
        return wire.pack_texts([value.encode() for value in values])
    if datatype == "BOOL":
        return bytes(values)
    code = wire.CODES[datatype]
    if code == "e":
        return struct.pack(f"<{len(values)}e", *values)
    return array(code, values).tobytes()


def flat_values(output: wire.Output) -> list[Any]:
    """Return the elements of an output as Python values, one after the other."""
    if output.datatype == "BYTES":
        return wire.read_texts(output.data, math.prod(output.shape))
    code = wire.CODES[output.datatype]
    if code == "e":
        return list(struct.unpack(f"<{len(output.data) // 2}e", output.data))
    values = array(code if code != "?" else "B")
    values.frombytes(output.data)
    return list(map(bool, values)) if code == "?" else values.tolist()


def json_values(output: wire.Output) -> list[Any]:
    """Return the entries of an output along its first dimension; None for what is not finite.

    An entry of one element is that element, one of several the list of them.
    """
    values = flat_values(output)
    if output.datatype.startswith("FP") and not all(map(math.isfinite, values)):
        values = [value if math.isfinite(value) else None for value in values]
    for size in reversed(output.shape[1:]):
        if size > 1:
            values = [values[at : at + size] for at in range(0, len(values), size)]
    return values
