"""The document of what is mounted, or of what would be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from aiohttp import web

from trainbox.http.mounts import Mount, MountTable
from trainbox.http.openapi.document import Group, Object, build_document, check_operations
from trainbox.http.openapi.own import OPERATIONS, described
from trainbox.http.openapi.routes import Documents
from trainbox_sdk.engine import Engine
from trainbox_sdk.operations import Operation
from trainbox_sdk.problems import PROBLEM
from trainbox_sdk.surfaces import Route, Surface


def own_routes(health: Iterable[web.RouteDef], mounts: Sequence[Mount]) -> list[Route]:
    """Return the routes that are no surface's: health, the document and its page.

    Raises:
        InvalidOperation: an operation of any route contradicts it, or an id comes twice.
    """

    def build() -> Object:
        return build_document(groups)

    own = [*described(health), *Documents(build).routes()]
    groups = _groups(own, mounts)
    check_operations(groups)
    return own


def offline_document(surfaces: Sequence[Surface]) -> Object:
    """Return the document without an engine, as ``GET /openapi.json`` would answer it.

    Raises:
        MountClash: two surfaces want the same URLs.
        InvalidOperation: an operation contradicts its route, or an id comes twice.
    """
    mounts = MountTable(surfaces, cast("Engine", _NoEngine())).mounts
    own = [Route("GET", path, _nobody, operation=one) for path, one in OPERATIONS.items()]
    return build_document(_groups([*own, *Documents(dict).routes()], mounts))


async def _nobody(request: web.Request) -> web.StreamResponse:
    """Stand where a handler would."""
    raise NotImplementedError(request.path)


def _groups(own: Sequence[Route], mounts: Sequence[Mount]) -> list[Group]:
    surfaces = [
        Group(each.surface.name, each.routes, each.surface.security, each.surface.problem,
              each.surface.problems)
        for each in mounts
    ]  # fmt: skip
    return [*surfaces, Group("daemon", own, None, PROBLEM, _nothing_more)]


def _nothing_more(operation: Operation) -> frozenset[int]:
    return frozenset(operation.problems)


class _NoEngine:
    """Stands where a surface keeps its engine while only its table is wanted."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*_args: object, **_named: object) -> Any:
            raise RuntimeError(f"a route table called the engine's {name}() while it was made")

        return refuse
