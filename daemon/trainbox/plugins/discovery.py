"""Which plugins are installed, found by entry point and without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = "trainbox"


@dataclass(frozen=True)
class Discovered:
    """One installed entry point.

    Attributes:
        name: what ``plugins.toml`` calls it.
        value: ``package.module:Class``.
        distribution: the distribution that offers it, and its ``version``.
        load: imports it and returns the class.
    """

    name: str
    value: str
    distribution: str
    version: str
    load: Callable[[], Any]

    @property
    def origin(self) -> str:
        """Distribution and version, as messages name them."""
        return f"{self.distribution} {self.version}".strip()


def installed_plugins() -> tuple[Discovered, ...]:
    """Return every entry point of group ``trainbox`` in this environment, bundled ones included."""
    return tuple(_discovered(entry) for entry in metadata.entry_points(group=GROUP))


def _discovered(entry: metadata.EntryPoint) -> Discovered:
    name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
    return Discovered(entry.name, entry.value, name, version, entry.load)
