"""The route table of ``/v1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from aiohttp import web

from trainbox_plugins.native import auth, errors
from trainbox_plugins.native.catalogue.handlers import Catalogue
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets.handlers import Datasets
from trainbox_plugins.native.jobs.handlers import Jobs
from trainbox_plugins.native.models.handlers import Models
from trainbox_plugins.native.predict.handlers import Predictions
from trainbox_plugins.native.table import SMALL, Area, Endpoint, KnownHandler
from trainbox_sdk.engine import Engine
from trainbox_sdk.surfaces import Handler, Route, Surface


class NativeSurface(Surface):
    """Datasets, jobs, models and predictions in trainbox's own words."""

    name: ClassVar[str] = "native"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1",)

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()

    def routes(self, engine: Engine) -> Sequence[Route]:
        """Return every route; each asks for a token."""
        areas: Sequence[Area] = (
            Datasets(engine, self._config),
            Jobs(engine, self._config),
            Models(engine),
            Predictions(engine, self._config),
            Catalogue(engine),
        )
        return [self._route(engine, each) for area in areas for each in area.endpoints()]

    def error_response(self, error: Exception, request: web.Request) -> web.Response:
        """Return the problem document."""
        return errors.respond(error, request)

    def _route(self, engine: Engine, each: Endpoint) -> Route:
        limit = each.max_body_bytes
        return Route(
            each.method,
            each.path,
            _known(engine, each.handler),
            self._config.max_json_bytes if limit == SMALL else limit,
            each.operation,
        )


def _known(engine: Engine, handler: KnownHandler) -> Handler:
    """Return a handler that first learns who asks."""

    async def call(request: web.Request) -> web.StreamResponse:
        return await handler(request, await auth.principal(engine, request))

    return call
