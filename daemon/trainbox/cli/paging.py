"""Long lists: ``--limit`` and ``--all``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from trainbox.cli.render import talk
from trainbox.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])
LARGEST_PAGE = 500


def page_options(verb: F) -> F:
    """Give a verb ``--limit`` and ``--all``, as ``limit`` and ``everything``."""
    limit = click.option(
        "--limit", type=click.IntRange(1, LARGEST_PAGE), default=50, show_default=True
    )
    everything = click.option("--all", "everything", is_flag=True, help="Every page.")
    return limit(everything(verb))


def fetch(
    session: Session, path: str, *, limit: int, everything: bool, **filters: Any
) -> Sequence[dict[str, Any]]:
    """Return items of a listing; says so where there are more than were asked for."""
    if everything:
        return list(session.client.pages(path, limit=LARGEST_PAGE, **filters))
    page = session.client.get(path, limit=limit, **filters)
    items: list[dict[str, Any]] = page["items"]
    if page["next"] is not None:
        talk(f"Only the first {limit}; --all lists the rest too.")
    return items
