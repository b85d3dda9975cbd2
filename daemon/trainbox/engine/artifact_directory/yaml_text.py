"""YAML for a few small files, written with JSON's quoting, which every YAML 1.2 reader takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def dump(document: Mapping[str, Any]) -> str:
    """Return block YAML of mappings and sequences with JSON scalars, keys in their order.

    Keys are written as they are: words of ours that YAML takes for text.
    """
    return "\n".join(_mapping(document, "")) + "\n"


def _mapping(document: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in document.items():
        yield from _entry(f"{indent}{key}:", value, indent + "  ")


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, indent)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        yield head
        for item in value:
            yield from _item(item, indent)
    else:
        yield f"{head} {json.dumps(value, allow_nan=False)}"


def _item(item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping) and item:
        lines = list(_mapping(item, indent + "  "))
        yield f"{indent}- {lines[0].strip()}"
        yield from lines[1:]
    else:
        yield f"{indent}- {json.dumps(item, allow_nan=False)}"
