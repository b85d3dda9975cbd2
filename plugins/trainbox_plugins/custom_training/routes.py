"""The route table of the dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from aiohttp import web

from trainbox_plugins.custom_training import errors
from trainbox_plugins.custom_training.areas.assets import Assets
from trainbox_plugins.custom_training.areas.datasets import Datasets
from trainbox_plugins.custom_training.areas.history import ModelHistory
from trainbox_plugins.custom_training.areas.models import Models
from trainbox_plugins.custom_training.areas.progress import Progress
from trainbox_plugins.custom_training.areas.training import Training
from trainbox_plugins.custom_training.areas.versions import ModelVersions
from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.credentials import Doorman
from trainbox_plugins.custom_training.library import Library
from trainbox_plugins.custom_training.names import SPACE
from trainbox_plugins.custom_training.runs import Runs
from trainbox_plugins.custom_training.table import DATASETS, MODELS, Area, Endpoint
from trainbox_plugins.custom_training.training import SCRIPT_TASK, Trainer
from trainbox_sdk.engine import Engine
from trainbox_sdk.operations import Content, SecurityScheme
from trainbox_sdk.surfaces import Handler, Route, Surface


class CustomTrainingSurface(Surface):
    """Models, scripts and training runs in the words of the custom-training document.

    Raises:
        BadKey: a key of the configuration that must not be used.
    """

    name: ClassVar[str] = SPACE
    prefixes: ClassVar[tuple[str, ...]] = (MODELS, DATASETS)
    requires_tasks: ClassVar[tuple[str, ...]] = (SCRIPT_TASK,)
    security: ClassVar[SecurityScheme | None] = SecurityScheme(
        "customTrainingToken", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    )
    problem: ClassVar[Content] = Content(errors.ErrorOut)

    def __init__(self, config: Config) -> None:
        self._config = config
        self._doorman = Doorman(config)

    def routes(self, engine: Engine) -> Sequence[Route]:
        """Return every route; all but signed links ask for a token."""
        library, runs = Library(engine), Runs(engine)
        trainer = Trainer(engine, library)
        versions = ModelVersions(engine, library, self._config)
        areas: Sequence[Area] = (
            Models(engine, library),
            Assets(engine, library, trainer, self._config),
            Datasets(engine, library, self._config),
            Training(engine, library, runs, trainer),
            Progress(engine, library, runs),
            versions,
            ModelHistory(engine, library),
        )
        known = [self._route(engine, each) for area in areas for each in area.endpoints()]
        return [*known, *versions.open_routes()]

    def error_response(self, error: Exception, request: web.Request) -> web.Response:
        """Return ``{"detail": …}``."""
        return errors.respond(error, request)

    def _route(self, engine: Engine, each: Endpoint) -> Route:
        return Route(
            each.method,
            each.path,
            _known(engine, self._doorman, each),
            each.max_body_bytes,
            each.operation,
        )


def _known(engine: Engine, doorman: Doorman, each: Endpoint) -> Handler:
    """Return a handler that first learns who asks, and whether their token may."""
    permission, handler = each.operation.scope, each.handler
    assert permission is not None

    async def call(request: web.Request) -> web.StreamResponse:
        caller = await doorman.caller(engine, request)
        caller.require(permission)
        return await handler(request, caller)

    return call
