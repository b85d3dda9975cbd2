"""Pieces of the daemon's URLs; apart from the client, whose imports cost a fifth of a second."""

from __future__ import annotations

from urllib.parse import quote


def segment(text: str) -> str:
    """Return text as one path segment."""
    return quote(text, safe="@:")
