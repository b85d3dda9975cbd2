"""The mount table: which surface owns which path, and refusal of every clash at start.

aiohttp accepts a second application on the same prefix in silence and never reaches it, and lets a
nested prefix shadow the outer one. So surfaces are mounted route by route on one router, after
this table has compared all of them.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainbox_sdk.engine import Engine
from trainbox_sdk.surfaces import Route, Surface

OPS = "the daemon's own health and documentation routes"
OPS_PREFIXES = ("/healthz", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs")
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_VARIABLE = re.compile(r"\{[^{}]*\}")


class MountClash(ValueError):
    """Two surfaces, or two routes of one, want the same URLs; the message names both."""


@dataclass(frozen=True)
class Mount:
    """One surface and its routes."""

    surface: Surface
    routes: tuple[Route, ...]


class MountTable:
    """Every mount, compared with every other.

    Raises:
        MountClash: equal or nested prefixes, a route outside its surface's prefixes, two routes
            that match the same requests, or a handler that is not a coroutine function.
    """

    def __init__(self, surfaces: Sequence[Surface], engine: Engine) -> None:
        self._owners: dict[str, Surface] = {}
        for surface in surfaces:
            self._claim(surface)
        self.mounts = tuple(Mount(each, tuple(each.routes(engine))) for each in surfaces)
        for mount in self.mounts:
            _check_routes(mount)

    def owner(self, path: str) -> Surface | None:
        """Return the surface under whose prefix a path lies, or None."""
        return next((s for prefix, s in self._owners.items() if lies_under(path, prefix)), None)

    def _claim(self, surface: Surface) -> None:
        if not surface.prefixes:
            raise MountClash(f"surface {surface.name!r} names no prefix")
        for prefix in surface.prefixes:
            if not _PREFIX.fullmatch(prefix):
                raise MountClash(
                    f"surface {surface.name!r}: prefix {prefix!r} must look like '/v1': "
                    "a leading slash, no trailing slash, no variables"
                )
            for taken, name in self._taken():
                if lies_under(prefix, taken) or lies_under(taken, prefix):
                    raise MountClash(_clash_text(surface.name, prefix, name, taken))
            self._owners[prefix] = surface

    def _taken(self) -> Iterator[tuple[str, str]]:
        yield from ((prefix, OPS) for prefix in OPS_PREFIXES)
        yield from ((prefix, f"surface {s.name!r}") for prefix, s in self._owners.items())


def lies_under(path: str, prefix: str) -> bool:
    """Return whether a path is the prefix itself or lies below it, segment by segment."""
    return path == prefix or path.startswith(prefix + "/")


def _clash_text(name: str, prefix: str, other: str, taken: str) -> str:
    relation = "the same as" if prefix == taken else "nested with"
    return (
        f"surface {name!r} wants prefix {prefix!r}, which is {relation} {taken!r} of {other}; "
        "take one of them out of plugins.toml"
    )


def _check_routes(mount: Mount) -> None:
    surface, seen = mount.surface, dict[tuple[str, str], str]()
    for route in mount.routes:
        where = f"surface {surface.name!r}: {route.method} {route.path}"
        if route.method not in METHODS:
            raise MountClash(f"{where}: the method must be one of {', '.join(sorted(METHODS))}")
        if not any(lies_under(route.path, prefix) for prefix in surface.prefixes):
            raise MountClash(f"{where} lies outside its prefixes {', '.join(surface.prefixes)}")
        if not _is_coroutine(route.handler):
            raise MountClash(f"{where}: the handler is not a coroutine function")
        shape = (route.method, _VARIABLE.sub("{}", route.path))
        if shape in seen:
            raise MountClash(f"{where} matches the same requests as {seen[shape]}")
        seen[shape] = route.path


def _is_coroutine(handler: object) -> bool:
    called = getattr(handler, "__call__", None)  # noqa: B004 - an object with async __call__ is fine
    return inspect.iscoroutinefunction(handler) or asyncio.iscoroutinefunction(called)
