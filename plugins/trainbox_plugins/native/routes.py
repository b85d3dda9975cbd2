"""The route table of ``/v1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from aiohttp import web

from trainbox_plugins.native import auth, errors
from trainbox_plugins.native.admin.handlers import Admin
from trainbox_plugins.native.assets.handlers import Assets
from trainbox_plugins.native.catalogue.handlers import Catalogue
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets.handlers import Datasets
from trainbox_plugins.native.jobs.handlers import Jobs
from trainbox_plugins.native.models.handlers import Models
from trainbox_plugins.native.predict.handlers import Predictions
from trainbox_plugins.native.table import SMALL, Area, Endpoint
from trainbox_plugins.native.tokens.audit import Audit
from trainbox_plugins.native.tokens.handlers import Tokens
from trainbox_plugins.native.webhooks.handlers import Webhooks
from trainbox_sdk.engine import Engine
from trainbox_sdk.operations import JSON, Content, Operation, SecurityScheme
from trainbox_sdk.problems import PROBLEM
from trainbox_sdk.surfaces import Handler, Route, Surface


class NativeSurface(Surface):
    """Datasets, jobs, models and predictions in trainbox's own words."""

    name: ClassVar[str] = "native"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1",)

    security: ClassVar[SecurityScheme | None] = SecurityScheme(
        "token", {"type": "http", "scheme": "bearer"}
    )
    problem: ClassVar[Content] = PROBLEM

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()

    def routes(self, engine: Engine) -> Sequence[Route]:
        """Return every route; each asks for a token."""
        areas: Sequence[Area] = (
            # First: the router tries routes in this order, and predictions come most often.
            Predictions(engine, self._config),
            Datasets(engine, self._config),
            Jobs(engine, self._config),
            Assets(engine, self._config),
            Webhooks(engine),
            Models(engine),
            Catalogue(engine),
            Tokens(engine),
            Audit(engine),
            Admin(engine),
        )
        return [self._route(engine, each) for area in areas for each in area.endpoints()]

    def problems(self, operation: Operation) -> frozenset[int]:
        """Return what reading the query or a JSON body adds."""
        found = set(super().problems(operation))
        if operation.query is not None:
            found.add(422)
        if any(content.media_type == JSON for content in operation.body):
            found |= {415, 422}
        return frozenset(found)

    def error_response(self, error: Exception, request: web.Request) -> web.Response:
        """Return the problem document."""
        return errors.respond(error, request)

    def _route(self, engine: Engine, each: Endpoint) -> Route:
        limit = each.max_body_bytes
        return Route(
            each.method,
            each.path,
            _known(engine, each),
            self._config.max_json_bytes if limit == SMALL else limit,
            each.operation,
        )


def _known(engine: Engine, each: Endpoint) -> Handler:
    """Return a handler that first learns who asks, and whether their token may.

    What the document declares is thereby what is enforced; the engine asks once more.
    """
    scope, handler = each.operation.scope, each.handler

    async def call(request: web.Request) -> web.StreamResponse:
        who = await auth.principal(engine, request)
        auth.require(who, scope)
        return await handler(request, who)

    return call
