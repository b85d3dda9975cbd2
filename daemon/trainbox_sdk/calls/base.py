"""Who asks, and pages of answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Principal:
    """Who asks: made by :meth:`Engine.authenticate`, never by a surface from thin air.

    Attributes:
        id: the subject, which owns what it makes and outlives its tokens.
        name: of the token.
        scopes: what the token may do.
        token_id: the token; empty where none was needed.
    """

    id: str
    name: str
    scopes: frozenset[str]
    token_id: str = field(default="", compare=False)


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a listing; ``next`` is an opaque cursor, None on the last page."""

    items: tuple[T, ...]
    next: str | None = None
