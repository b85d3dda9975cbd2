"""Who asks, and pages of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Principal:
    """Who asks: made by :meth:`Engine.authenticate`, never by a surface from thin air."""

    id: str
    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a listing; ``next`` is an opaque cursor, None on the last page."""

    items: tuple[T, ...]
    next: str | None = None
