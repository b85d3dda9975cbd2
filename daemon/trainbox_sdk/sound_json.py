"""JSON values that every encoder takes: no half of a surrogate pair, no bottomless nesting.

Python reads both from JSON text without a word and cannot write them as UTF-8 again (RFC 8259 §8.2,
§9). Code in a sandbox may say either, and what it said is told again for as long as its job is
kept: so it is mended where it is read, and once more where an answer cannot be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json

DEEPEST = 100
"""Levels of nesting in what is stored and told; encoders give up at some 250."""
TOO_DEEP = "\N{HORIZONTAL ELLIPSIS}"
"""What stands where a value was nested deeper."""

_HALVES = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    """Return text with U+FFFD for each half of a surrogate pair."""
    return text if text.isascii() else _HALVES.sub("\N{REPLACEMENT CHARACTER}", text)


def sound(value: Any, deepest: int = DEEPEST, text: Callable[[str], str] = whole) -> Any:
    """Return a JSON value with sound text in it, cut where it is nested too deeply.

    Args:
        value: mappings, sequences and scalars; what is none of these is returned as it is.
        deepest: levels of nesting that are kept; below them stands :data:`TOO_DEEP`.
        text: what is made of every string, names of members included.
    """
    if isinstance(value, str):
        return text(value) if type(value) is str else value
    if isinstance(value, Mapping):
        if deepest <= 0:
            return TOO_DEEP
        return {text(str(key)): sound(each, deepest - 1, text) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [sound(each, deepest - 1, text) for each in value] if deepest > 0 else TOO_DEEP
    return value


def json_bytes(document: object) -> bytes:
    """Return a document as JSON; times are RFC 3339, numbers JSON lacks become null.

    What cannot be written as it is, since text or nesting in it is unsound, is mended.
    """
    try:
        return to_json(document, inf_nan_mode="null")
    except ValueError:  # pydantic's own for both; rare, so nothing is looked for beforehand
        return to_json(sound(document), inf_nan_mode="null")
