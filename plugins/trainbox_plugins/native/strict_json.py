"""What Python's JSON readers let through and RFC 8259 or I-JSON (RFC 7493) does not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainbox_plugins.native.errors import Malformed
from trainbox_sdk.errors import FieldError, ValidationFailed

NOT_READ = object()
"""Stands for a document that is no JSON."""


def check_json(raw: bytes) -> object:
    """Refuse a document that readers could understand in two ways, or that none should try.

    Args:
        raw: a request body, already of bounded size.

    Returns:
        The document, or :data:`NOT_READ`: then the wire model's own reader says where.

    Raises:
        Malformed: a name twice in one object, an integer of thousands of digits, or nesting
            beyond what a parser should follow.
        ValidationFailed: NaN or infinity, also as ``1e999``; names the place.
    """
    reader = _Reader()
    try:
        document = json.loads(
            raw,
            object_pairs_hook=_distinct,
            parse_constant=reader.constant,
            parse_float=reader.number,
        )
    except RecursionError:
        raise Malformed(
            "The request body is nested too deeply.", hint="Send less deeply nested values."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        return NOT_READ
    except ValueError:
        raise Malformed("The request body has an integer of thousands of digits.") from None
    if not reader.finite:
        require_finite(document, ())
    return document


def require_finite(value: object, where: tuple[str | int, ...]) -> None:
    """Refuse NaN and infinity, which Python's JSON readers let in where any value goes.

    Raises:
        ValidationFailed: names the place.
    """
    if isinstance(value, float) and not math.isfinite(value):
        error = FieldError(where, f"{value} is not a JSON number", "Leave it out, or send null.")
        raise ValidationFailed("The request body has a number that JSON lacks.", errors=[error])
    if isinstance(value, Mapping):
        for key, item in value.items():
            require_finite(item, (*where, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            require_finite(item, (*where, at))


class _Reader:
    """Reads numbers and remembers whether all of them were numbers."""

    def __init__(self) -> None:
        self.finite = True

    def constant(self, word: str) -> float:
        self.finite = False
        return float(word)

    def number(self, text: str) -> float:
        found = float(text)
        if math.isinf(found):
            self.finite = False
        return found


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(
            f"The request body has the name {twice[:80]!r} twice in one object.",
            hint="Readers differ in which one counts; send it once.",
        )
    return found
