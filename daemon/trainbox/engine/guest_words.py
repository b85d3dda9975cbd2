"""Makes what a guest says fit to be shown: nothing in it steers a terminal or turns text round.

Its names and sentences go into events, reasons and models, and from there to every reader: pages,
terminals, other programs' JSON. What no reader has a use for is replaced once, where it comes in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainbox_sdk.sound_json import sound, whole

DEEPEST = 32
"""Levels of nesting that are kept of what a guest says."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNFIT = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls, but for the tab and the line feed
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's bidirectional controls (UAX #9)
    r"\u2028\u2029\ud800-\udfff"  # its own line breaks; halves of a surrogate pair
)
_IN_TEXT = re.compile(f"[{_UNFIT}]")
_BREAKS = re.compile(r"\r\n|[\t\n\r\v\f\u2028\u2029]")
_LINES = frozenset({"text"})
"""Members of an event that may have several lines."""


def line(text: str) -> str:
    """Return a name or a sentence as one line: breaks become spaces, other controls U+FFFD."""
    if text.isprintable():
        return text
    return _IN_TEXT.sub(REPLACEMENT, _BREAKS.sub(" ", text))


def lines(text: str) -> str:
    """Return text with its line feeds and tabs; other controls become U+FFFD."""
    return text if text.isprintable() else _IN_TEXT.sub(REPLACEMENT, text.replace("\r\n", "\n"))


def fit(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's members fit to be shown, and no deeper than :data:`DEEPEST`."""
    return {
        line(name): lines(value)
        if name in _LINES and isinstance(value, str)
        else sound(value, DEEPEST - 1, line)
        for name, value in data.items()
    }


def encodable(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data as it is, but for what JSON in UTF-8 cannot hold, to :data:`DEEPEST` levels.

    For rows and categories, which are the user's own and may well say how they are to be read.
    """
    return {whole(name): sound(value, DEEPEST - 1) for name, value in data.items()}
