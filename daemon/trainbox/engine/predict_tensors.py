"""Tensors from outside checked against what a model takes, and its outputs as tensors.

Sizes are checked here, in Python's unbounded integers; what lies in the bytes of a text tensor is
looked at by the confined worker, request by request, before requests share a run.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.engine.predict_columns import pack_values
from trainbox.engine.predict_values import QUOTED, named
from trainbox.workers import predict_wire as wire
from trainbox.workers.predict_process import TensorFacts
from trainbox_sdk.errors import FieldError, TooLarge, ValidationFailed
from trainbox_sdk.predictions import Tensor, TensorSpec

_INTEGER_KINDS = frozenset({int})
_NUMBER_KINDS = frozenset({int, float})


def specs(facts: Sequence[TensorFacts]) -> list[TensorSpec]:
    """Return inputs or outputs as the SDK says them."""
    return [TensorSpec(each.name, each.datatype, each.shape) for each in facts]  # type: ignore[arg-type]


def wanted_outputs(
    names: Sequence[str] | None, outputs: Sequence[TensorFacts]
) -> Sequence[int] | None:
    """Return which outputs are asked for, in order; None for all.

    Raises:
        ValidationFailed: one the model does not have, or one twice.
    """
    if names is None:
        return None
    places = {each.name: at for at, each in enumerate(outputs)}
    for at, name in enumerate(names):
        if name not in places:
            known = f"the model has {', '.join(map(repr, places))}"
            raise _wrong(
                ("outputs", at), f"output {name[:QUOTED]!r} is not one of the model", known
            )
    if len(set(names)) != len(names):
        raise _wrong(("outputs",), "an output is asked for twice")
    return [places[name] for name in names]


def to_item(tensors: Sequence[Tensor], inputs: Sequence[TensorFacts], max_rows: int) -> wire.Item:
    """Return tensors as a request to the worker.

    Raises:
        ValidationFailed: names the first input that is wrong, and why.
        TooLarge: more than ``max_rows``.
    """
    given = _by_name(tensors, inputs)
    rows = _rows(given[inputs[0].name], inputs[0])
    if rows > max_rows:
        raise TooLarge(
            f"{rows:,} rows, at most {max_rows:,} are taken at a time",
            hint="send them in several requests",
        )
    return wire.Item(rows, [_buffer(given[each.name], each, rows) for each in inputs])


def to_tensors(
    outputs: Sequence[wire.Output], facts: Sequence[TensorFacts], wanted: Sequence[int] | None
) -> list[Tensor]:
    """Return what the worker answered, as the SDK says it."""
    places = range(len(facts)) if wanted is None else wanted
    return [
        Tensor(facts[at].name, outputs[at].datatype, tuple(outputs[at].shape), outputs[at].data)
        for at in places
    ]


def _by_name(tensors: Sequence[Tensor], inputs: Sequence[TensorFacts]) -> Mapping[str, Tensor]:
    given = {tensor.name: tensor for tensor in tensors}
    known = {each.name for each in inputs}
    if len(given) == len(tensors) and given.keys() == known:
        return given
    takes = f"the model takes {', '.join(repr(each.name) for each in inputs)}"[:1000]
    seen: set[str] = set()
    for at, tensor in enumerate(tensors):
        if tensor.name in seen:
            raise _wrong(("inputs", at), f"input {tensor.name[:QUOTED]!r} is there twice")
        seen.add(tensor.name)
        if tensor.name not in known:
            text = f"input {tensor.name[:QUOTED]!r} is not one of the model"
            raise _wrong(("inputs", at), text, takes)
    missing = next(each.name for each in inputs if each.name not in given)
    raise _wrong(("inputs",), f"input {missing!r} is missing", takes)


def _rows(tensor: Tensor, fact: TensorFacts) -> int:
    shape = tensor.shape
    for size in shape:
        if size < 0:
            raise _about(tensor, f"has the negative size {size} in its shape {list(shape)}")
    fine = ((1,), (), fact.row) if fact.width == 1 else (fact.row,)
    if not shape or tuple(shape[1:]) not in fine:
        takes = "[n, 1] or [n]" if fact.width == 1 else f"[n, {', '.join(map(str, fact.row))}]"
        raise _about(tensor, f"has shape {list(shape)[:8]}, not {takes}")
    if not shape[0]:
        raise _about(tensor, "has no rows")
    return shape[0]


def _buffer(tensor: Tensor, fact: TensorFacts, rows: int) -> wire.Buffer:
    if tensor.datatype != fact.datatype:
        text = f"has datatype {tensor.datatype[:QUOTED]!r}, the model takes {fact.datatype}"
        raise _about(tensor, text)
    if _rows(tensor, fact) != rows:
        raise _about(tensor, f"has {tensor.shape[0]} rows, the first input has {rows}")
    if tensor.raw is not None:
        return _raw(tensor, tensor.raw, rows * fact.width)
    if fact.width != 1:
        return _packed(tensor, _flat_matrix(tensor, rows * fact.width))
    return _packed(tensor, _flat(tensor, rows))


def _raw(tensor: Tensor, raw: bytes | memoryview, rows: int) -> bytes | memoryview:
    width = wire.WIDTHS[tensor.datatype]
    if not width:
        if len(raw) < wire.LENGTH * rows:
            raise _about(tensor, f"has {len(raw)} bytes, too few for {rows} texts")
    elif len(raw) != width * rows:
        raise _about(
            tensor,
            f"has {len(raw)} bytes; {rows} values of {tensor.datatype} have {width * rows}",
        )
    return raw


def _flat(tensor: Tensor, rows: int) -> Sequence[Any]:
    """Return JSON data as one value per row, whether it came flat or nested."""
    values = tensor.values
    if not isinstance(values, list) or len(values) != rows:
        count = len(values) if isinstance(values, list) else "no"
        raise _about(tensor, f"has {count} values in its data, its shape {list(tensor.shape)}")
    if len(tensor.shape) == 2 and all(  # noqa: PLR2004
        isinstance(value, list) and len(value) == 1 for value in values
    ):
        return [value[0] for value in values]
    return values


def _flat_matrix(tensor: Tensor, count: int) -> Sequence[Any]:
    """Return JSON data as one list of elements, whether it came flat or nested by its shape."""
    values, sizes = tensor.values, list(tensor.shape)
    if isinstance(values, list) and len(values) == count and not isinstance(values[0], list):
        return values
    level: list[Any] = [values]
    for size in sizes:
        if any(not isinstance(each, list) or len(each) != size for each in level):
            raise _about(tensor, f"has data that is not {count} values, nor lists of shape {sizes}")
        level = [each for part in level for each in part]
    return level


def _packed(tensor: Tensor, values: Sequence[Any]) -> bytes:
    datatype, kinds = tensor.datatype, set(map(type, values))
    if datatype.startswith("FP") and type(None) in kinds:
        # JSON has no NaN; null is what this protocol's servers write for it.
        values = [math.nan if value is None else value for value in values]
        kinds.discard(type(None))
    fine = {"BYTES": frozenset({str}), "BOOL": frozenset({bool})}.get(
        datatype, _NUMBER_KINDS if datatype.startswith("FP") else _INTEGER_KINDS
    )
    if not kinds <= fine:
        at, value = next((i, v) for i, v in enumerate(values) if type(v) not in fine)
        raise _about(tensor, f"has {named(value)} at {at}, which is no {datatype}")
    try:
        if datatype == "BYTES":
            return wire.write_texts([value.encode() for value in values])
        packed = pack_values(datatype, values)
    except UnicodeEncodeError:
        raise _about(tensor, "has a text with half a surrogate pair") from None
    except (OverflowError, struct.error):
        raise _about(tensor, f"has a number that does not fit {datatype}") from None
    if datatype == "FP32" and _overflowed(packed, values):
        raise _about(tensor, "has a number that does not fit FP32")
    return packed


def _overflowed(packed: bytes, values: Sequence[Any]) -> bool:
    """Whether packing made a finite number infinite."""
    stored = memoryview(packed).cast("f").tolist()
    if not any(map(math.isinf, stored)):
        return False
    return any(
        math.isinf(after) and not math.isinf(before)
        for before, after in zip(values, stored, strict=True)
    )


def _about(tensor: Tensor, text: str) -> ValidationFailed:
    return _wrong(("inputs", tensor.name), f"input {tensor.name[:QUOTED]!r} {text}")


def _wrong(loc: tuple[str | int, ...], text: str, hint: str = "") -> ValidationFailed:
    return ValidationFailed(
        text, code="bad_tensors", hint=hint, errors=[FieldError(loc, text, hint)]
    )
