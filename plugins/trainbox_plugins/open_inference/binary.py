"""The binary tensor extension: JSON first, tensors behind it; both ways, pure functions.

The header ``Inference-Header-Content-Length`` says where the JSON ends. The tensors follow in the
order of the JSON, each as long as its ``binary_data_size``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from trainbox_plugins.open_inference import wire
from trainbox_sdk.errors import ValidationFailed
from trainbox_sdk.predictions import InferRequest, InferResult, Tensor

HEADER = "Inference-Header-Content-Length"
MAX_DIGITS = 12
REMEMBERED_BYTES = 8192
"""Longest JSON that is remembered with what it means."""

_CODES: Mapping[str, str] = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_NOT_OFFERED = {
    "shared_memory_region": "shared memory",
    "classification": "the classification extension",
}

M = TypeVar("M", bound=BaseModel)


def read_request(model: str, body: bytes, header: str | None) -> tuple[InferRequest, wire.InferIn]:
    """Return an inference request as the engine takes it, and as it was written.

    Args:
        model: the reference in the path.
        body: JSON, and behind it the binary tensors.
        header: the value of :data:`HEADER`, None where it is absent.

    Raises:
        ValidationFailed: says what is wrong and where.
    """
    end = _json_length(header, len(body))
    asked, sizes = _parse_head(body) if header is None else _read_head(body[:end])
    rest = memoryview(body)[end:]
    place, inputs = 0, []
    for given, size in zip(asked.inputs, sizes, strict=True):
        raw = None
        if size is not None:
            if size > len(rest) - place:
                raise ValidationFailed(
                    f"input {given.name!r} says binary_data_size {size}, "
                    f"but {len(rest) - place} bytes are left of the body"
                )
            raw = rest[place : place + size]
            place += size
        inputs.append(Tensor(given.name, given.datatype, tuple(given.shape), raw, given.data))
    if place != len(rest):
        raise ValidationFailed(f"{len(rest) - place} bytes are left behind the last tensor")
    wanted = None if not asked.outputs else [output.name for output in asked.outputs]
    return InferRequest(model, inputs, wanted), asked


Head = tuple[wire.InferIn, Sequence[int | None]]


def _read_head(text: bytes) -> Head:
    """Return the JSON of a request, and how long each input's binary tensor is.

    A client that sends its tensors behind the JSON sends the same JSON again and again, so short
    ones are remembered; nobody may change what is returned.
    """
    return _remembered_head(text) if len(text) <= REMEMBERED_BYTES else _parse_head(text)


def _parse_head(text: bytes) -> Head:
    asked = parse(wire.InferIn, text)
    return asked, [_binary_size(given) for given in asked.inputs]


_remembered_head = lru_cache(maxsize=128)(_parse_head)


def parse(model: type[M], text: bytes) -> M:
    """Parse JSON against a wire model.

    Raises:
        ValidationFailed: not JSON, or the first wrong member by its place.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "json_invalid":
            place = "the request"
        raise ValidationFailed(f"{place or 'the request'}: {first['msg']}") from None


def _json_length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not (header.isascii() and header.isdigit() and len(header) <= MAX_DIGITS):
        raise ValidationFailed(f"{HEADER} must be a number of bytes, not {header[:80]!r}")
    if int(header) > size:
        raise ValidationFailed(f"{HEADER} is {int(header)}, but the body has {size} bytes")
    return int(header)


def _binary_size(given: wire.TensorIn) -> int | None:
    parameters = given.parameters
    if parameters is None:
        parameters = {}
    _refuse_what_is_not_offered(given.name, parameters)
    size = parameters.get("binary_data_size")
    if size is None:
        if given.data is None:
            raise ValidationFailed(f"input {given.name!r} has neither data nor binary_data_size")
        return None
    if type(size) is not int or size < 0:
        raise ValidationFailed(f"input {given.name!r}: binary_data_size must be a number of bytes")
    if given.data is not None:
        raise ValidationFailed(f"input {given.name!r} has both data and binary_data_size")
    return size


def _refuse_what_is_not_offered(name: str, parameters: Mapping[str, Any]) -> None:
    for key, words in _NOT_OFFERED.items():
        if parameters.get(key):
            raise ValidationFailed(f"{name!r} asks for {words}, which is not offered here")


def wants_binary(asked: wire.InferIn, result: InferResult) -> list[bool]:
    """Return for every output whether it is wanted behind the JSON.

    Raises:
        ValidationFailed: a parameter of the wrong type, or one that is not offered.
    """
    everything = _flag("the request", asked.parameters, "binary_data_output", default=False)
    if not asked.outputs:
        return [everything] * len(result.outputs)
    found = []
    for output in asked.outputs:
        _refuse_what_is_not_offered(output.name, output.parameters or {})
        found.append(_flag(output.name, output.parameters, "binary_data", default=everything))
    return found


def _flag(where: str, parameters: Mapping[str, Any] | None, key: str, *, default: bool) -> bool:
    value = (parameters or {}).get(key, default)
    if type(value) is not bool:
        raise ValidationFailed(f"{where}: {key} must be true or false")
    return value


def write_answer(
    result: InferResult, asked: wire.InferIn, binary: Sequence[bool]
) -> tuple[bytes, int | None]:
    """Return the body, and how much of it is JSON where tensors follow."""
    outputs: list[wire.TensorOut] = []
    behind: list[bytes | memoryview] = []
    for tensor, apart in zip(result.outputs, binary, strict=True):
        assert tensor.raw is not None
        out: wire.TensorOut = {
            "name": tensor.name,
            "datatype": tensor.datatype,  # type: ignore[typeddict-item]  # the engine's are these
            "shape": list(tensor.shape),
        }
        if apart:
            out["parameters"] = {"binary_data_size": len(tensor.raw)}
            behind.append(tensor.raw)
        else:
            out["data"] = values_of(tensor)
        outputs.append(out)
    document: wire.InferOut = {
        "model_name": result.model.name,
        "model_version": str(result.model.version),
        "outputs": outputs,
    }
    if asked.id is not None:
        document["id"] = asked.id
    head = to_json(document, inf_nan_mode="null")
    return (head, None) if not behind else (b"".join((head, *behind)), len(head))


def values_of(tensor: Tensor) -> list[Any]:
    """Return the elements of a tensor as JSON values; NaN is None once it is written."""
    assert tensor.raw is not None
    if tensor.datatype == "BYTES":
        return list(_texts(bytes(tensor.raw)))
    count = math.prod(tensor.shape)
    return list(struct.unpack(f"<{count}{_CODES[tensor.datatype]}", tensor.raw))


def _texts(raw: bytes) -> Iterator[str]:
    place = 0
    while place < len(raw):
        (size,) = struct.unpack_from("<I", raw, place)
        place += 4
        yield raw[place : place + size].decode("utf-8", errors="replace")
        place += size
