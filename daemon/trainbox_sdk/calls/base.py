"""Who asks, and pages of answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Principal:
    """Who asks: made by :meth:`Engine.authenticate`, or by a surface with credentials of its own.

    Attributes:
        id: the subject, which owns what it makes and outlives its tokens.
        name: of the token.
        scopes: what the token may do.
        token_id: the token; empty where none was needed.
        user: the person who acts for the subject, where those are two; for the audit log.
    """

    id: str
    name: str
    scopes: frozenset[str]
    token_id: str = field(default="", compare=False)
    user: str = field(default="", compare=False)

    @property
    def actor(self) -> str:
        """Who the audit log names."""
        return self.user or self.id


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a listing; ``next`` is an opaque cursor, None on the last page."""

    items: tuple[T, ...]
    next: str | None = None
