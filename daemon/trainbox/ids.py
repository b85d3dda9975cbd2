"""Names for things: a short word for the kind, then a UUIDv7 (RFC 9562, section 5.7).

UUIDv7 starts with the time, so that new rows land at the end of an index; base32hex (RFC 4648,
section 7) in lower case keeps that order in the text and is valid in file names and engine names.
"""

from __future__ import annotations

import base64
import re

import uuid6

PREFIXES = ("job", "stp", "att", "ds", "art", "mdl", "tok")
"""Job, step, attempt, dataset, artifact, model, token."""

_ID = re.compile(rf"({'|'.join(PREFIXES)})_[0-9a-v]{{26}}")


def new_id(prefix: str) -> str:
    """Return a new id such as ``job_06gvr643odt4nf8ecarj0g5oi4``; ``prefix`` is a known one."""
    if prefix not in PREFIXES:
        raise ValueError(f"unknown id prefix {prefix!r}, one of {', '.join(PREFIXES)}")
    return f"{prefix}_{base64.b32hexencode(uuid6.uuid7().bytes).decode().rstrip('=').lower()}"


def is_id(text: str, prefix: str) -> bool:
    """Return whether the text has the form of an id of that kind; says nothing of its existence."""
    found = _ID.fullmatch(text)
    return found is not None and found[1] == prefix
