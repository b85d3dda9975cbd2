"""JSON values checked against the type of one model input.

Nothing here is converted silently: ``"12"`` is no number, 1 is no boolean. What training read as
missing is ``null``; a gap word such as ``NA`` is a text like any other.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trainbox_sdk.errors import Unavailable

QUOTED = 80
EXAMPLE_LENGTH = 100
"""Characters after which a signature cuts an example."""

FLOAT_LIMITS = {
    "float16": 65504.0,
    "float": 3.4028234663852886e38,
    "float32": 3.4028234663852886e38,
}
"""Largest finite value (IEEE 754) of the narrower element types."""
FLOATS = frozenset({"float16", "float", "float32", "double", "float64"})
INTEGERS = {
    "int64": (-(2**63) + 1, 2**63 - 1),  # the lowest means "missing"
    "int32": (-(2**31), 2**31 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "uint64": (0, 2**64 - 1),
    "uint32": (0, 2**32 - 1),
    "uint16": (0, 2**16 - 1),
    "uint8": (0, 2**8 - 1),
}

_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?)?"
)
_BEFORE_ZONE = re.compile(r" ([Z+-])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Wrong(ValueError):
    """A value of the wrong type.

    Args:
        message: what is wrong with it.
        hint: how to fix it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


Convert = Callable[[Any], Any]
Plain = Callable[[Sequence[Any], set[type]], bool]
FEW = 8
"""Values below which looking at each is cheaper than looking at all."""


@dataclass(frozen=True)
class Input:
    """One input of a signature.

    Attributes:
        nullable: whether its tensor has a value that means "missing".
        convert: returns what the worker takes for a present value, or raises :class:`Wrong`.
        plain: whether a list of present values can be taken as it is, told by looking at the
            list as a whole.
        seen: every category of training, where the signature lists them all.
    """

    name: str
    type: str
    nullable: bool
    convert: Convert
    plain: Plain
    seen: frozenset[str] | None = None

    def column(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return what the worker takes for a column of JSON values, None for missing ones.

        Raises:
            Wrong: one of them is not of this input's type.
        """
        if len(values) >= FEW:
            kinds = {each.__class__ for each in values}
            present: Sequence[Any] = values
            if None.__class__ in kinds and self.nullable:
                kinds.discard(None.__class__)
                present = [value for value in values if value is not None]
            if not present or self.plain(present, kinds):
                return values
        return [self.read(value) for value in values]

    def read(self, value: Any) -> Any:
        """Return what the worker takes for a JSON value, None for a missing one.

        Raises:
            Wrong: not of this input's type.
        """
        if value is not None:
            return self.convert(value)
        if not self.nullable:
            hint = "this model takes no missing value here"
            raise Wrong(f"must be a {self.type}, not null", hint)
        return None


def unserved(signature: Mapping[str, Any]) -> str:
    """Return why a model of this signature answers no predictions; empty where it does.

    What a script left may be a pickle, or a graph for batches of one size: kept, and not served.
    """
    if not signature.get("inputs"):
        return "it is not an ONNX model; it can be downloaded"
    return str(signature.get("unserved") or "")


def read_signature(signature: Mapping[str, Any]) -> tuple[Input, ...]:
    """Return the inputs of a model's signature.

    A task without a check states its own, and its guest may state anything.

    Raises:
        Unavailable: the signature states none, or a type nobody knows.
    """
    inputs = signature.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise Unavailable("the model has no signature", code="model_unusable")
    return tuple(_input(item) for item in inputs)


def _input(item: Any) -> Input:
    if not isinstance(item, Mapping) or not {"name", "type"} <= item.keys():
        raise Unavailable("an input of the model has no name or type", code="model_unusable")
    name, kind, dtype = str(item["name"]), str(item["type"]), str(item.get("dtype", ""))
    match kind:
        case "number" if dtype in INTEGERS:
            low, high = INTEGERS[dtype]
            return Input(name, kind, False, _integer(low, high), _plain_integers(low, high))
        case "number":
            return Input(name, kind, True, _number(dtype), _plain_numbers(dtype))
        case "boolean":
            return Input(name, kind, dtype in FLOATS, _boolean, _plain_booleans)
        case "string":
            return Input(name, kind, True, _string, _plain_texts, _categories(item))
        case "datetime":
            return Input(name, kind, True, epoch_seconds, _never_plain)
        case "tensor":
            return Input(name, kind, False, _tensor(dtype, _row(item)), _never_plain)
    raise Unavailable(f"input {name!r} has the unknown type {kind!r}", code="model_unusable")


def _row(item: Mapping[str, Any]) -> tuple[int, ...]:
    sizes = item.get("row")
    if not isinstance(sizes, list) or not all(type(size) is int and size > 0 for size in sizes):
        raise Unavailable(
            f"input {item['name']!r} has no size in the signature", code="model_unusable"
        )
    return tuple(sizes)


def _tensor(dtype: str, sizes: Sequence[int]) -> Convert:
    """Return what makes one row's elements, in order, of nested lists or of one flat list."""
    number = _integer(*INTEGERS[dtype]) if dtype in INTEGERS else _number(dtype)
    count, shape = math.prod(sizes), list(sizes)

    def convert(value: Any) -> list[Any]:
        level = [value]
        for size in [count] if _is_flat(value, count) else shape:
            if any(type(each) is not list or len(each) != size for each in level):
                raise Wrong(f"must be {count} numbers in a list of shape {shape}", _row_hint(shape))
            level = [each for part in level for each in part]
        return [number(each) for each in level]

    return convert


def _is_flat(value: Any, count: int) -> bool:
    return type(value) is list and len(value) == count and type(value[0]) is not list


def _row_hint(shape: Sequence[int]) -> str:
    return f"a list of {shape[0]}" if len(shape) == 1 else "nested lists, or one flat list"


def _categories(item: Mapping[str, Any]) -> frozenset[str] | None:
    training = item.get("training") or {}
    examples = training.get("examples") or ()
    # Examples are the most frequent ones, and cut short: they are all of them only if they are as
    # many as there are, and none is as long as the cut.
    whole = len(examples) == training.get("categories") and all(
        isinstance(text, str) and len(text) < EXAMPLE_LENGTH for text in examples
    )
    return frozenset(examples) if examples and whole else None


def _plain_numbers(dtype: str) -> Plain:
    limit = FLOAT_LIMITS.get(dtype, sys.float_info.max)

    def plain(values: Sequence[Any], kinds: set[type]) -> bool:
        if not kinds <= {float, int} or not -limit <= min(values) <= max(values) <= limit:
            return False
        return all(map(math.isfinite, values))

    return plain


def _plain_integers(low: int, high: int) -> Plain:
    def plain(values: Sequence[Any], kinds: set[type]) -> bool:
        return kinds == {int} and low <= min(values) and max(values) <= high

    return plain


def _plain_booleans(values: Sequence[Any], kinds: set[type]) -> bool:
    del values
    return kinds == {bool}


def _plain_texts(values: Sequence[Any], kinds: set[type]) -> bool:
    if kinds != {str}:
        return False
    whole = "".join(values)
    if whole.isascii():
        return "\0" not in whole
    try:
        return "\0" not in whole and bool(whole.encode())
    except UnicodeEncodeError:
        return False


def _never_plain(values: Sequence[Any], kinds: set[type]) -> bool:
    del values, kinds
    return False


def named(value: Any) -> str:
    """Name a JSON value's type, and the value where it is a scalar."""
    match value:
        case None:
            return "null"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {str(value)[:QUOTED]}"
        case str():
            return f"the string {value[:QUOTED]!r}"
        case Mapping():
            return "an object"
        case _:
            return "a list"


def _number(dtype: str) -> Convert:
    limit = FLOAT_LIMITS.get(dtype, math.inf)

    def convert(value: Any) -> float:
        if type(value) is not float and type(value) is not int:
            raise Wrong(f"must be a number, not {named(value)}", _number_hint(value))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not -limit <= number <= limit or not math.isfinite(number):
            raise Wrong(f"must be a finite number of type {dtype}, not {str(value)[:QUOTED]}")
        return number

    return convert


def _number_hint(value: Any) -> str:
    return 'send 12.5 instead of "12.5"' if isinstance(value, str) else "send null if it is unknown"


def _integer(low: int, high: int) -> Convert:
    def convert(value: Any) -> int:
        whole = type(value) is int or (type(value) is float and value.is_integer())
        if not whole or not low <= value <= high:
            raise Wrong(f"must be an integer from {low} to {high}, not {named(value)}")
        return int(value)

    return convert


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Wrong(
            f"must be true or false, not {named(value)}", "0 and 1 are numbers, not booleans"
        )
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise Wrong(f"must be a string, not {named(value)}", 'send "7" instead of 7')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Wrong("must be Unicode text: it holds half a surrogate pair") from error
    if "\0" in value:
        raise Wrong("must not hold a NUL character")
    return value


def epoch_seconds(value: Any) -> int:
    """Return whole seconds since 1970 in UTC, rounded down, of ISO 8601 text.

    Raises:
        Wrong: not such a text, or no such day.
    """
    hint = 'send ISO 8601, such as "2024-12-31" or "2024-12-31T10:00:00+01:00"'
    if type(value) is not str or not _DATETIME.fullmatch(value):
        raise Wrong(f"must be a datetime, not {named(value)}", hint)
    try:
        moment = datetime.fromisoformat(
            value.replace(" +", "+").replace(" -", "-").replace(" Z", "Z")
        )
    except ValueError as error:
        raise Wrong(f"must be a datetime, not {named(value)}: {error}", hint) from error
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _SECOND
