"""Keyset pages: a cursor names the last row seen, so that page 10,000 costs what page 1 costs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from trainbox_sdk.engine import Page
from trainbox_sdk.errors import FieldError, ValidationFailed

R = TypeVar("R")
T = TypeVar("T")

LARGEST_PAGE = 500
BEFORE_ALL = 2**63 - 1
"""Where a listing of newest first begins."""


def encode(listing: str, seq: int) -> str:
    """Return an opaque cursor of one listing."""
    return base64.urlsafe_b64encode(f"{listing}:{seq}".encode()).decode().rstrip("=")


def decode(listing: str, cursor: str | None) -> int:
    """Return the ``seq`` a page continues below.

    Raises:
        ValidationFailed: not a cursor of this listing.
    """
    if cursor is None:
        return BEFORE_ALL
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        name, seq = text.split(":")
        if name == listing and seq.isdecimal() and int(seq) <= BEFORE_ALL:
            return int(seq)
    except (binascii.Error, ValueError):
        pass
    raise ValidationFailed(
        f"not a cursor of this listing of {listing}",
        code="bad_cursor",
        errors=[FieldError(("after",), "not a cursor", "pass what the page before gave as next")],
    )


def page_size(limit: int) -> int:
    """Return how many items to give; more than the largest page is cut to it.

    Raises:
        ValidationFailed: less than one.
    """
    if limit < 1:
        raise ValidationFailed(
            "a page has at least one item", errors=[FieldError(("limit",), "must be 1 or more")]
        )
    return min(limit, LARGEST_PAGE)


def page(
    listing: str,
    rows: Sequence[R],
    size: int,
    seq: Callable[[R], int | None],
    view: Callable[[R], T],
) -> Page[T]:
    """Return a page from up to ``size + 1`` rows; the one too many only says that there is more."""
    shown = rows[:size]
    more = len(rows) > size
    last = seq(shown[-1]) if shown else None
    return Page(
        tuple(view(row) for row in shown),
        encode(listing, last) if more and last is not None else None,
    )
