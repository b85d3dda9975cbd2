"""The route table of ``/v1``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from aiohttp import web

from trainbox_plugins.native import auth, errors
from trainbox_plugins.native.catalogue import Catalogue
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.datasets import Datasets
from trainbox_plugins.native.jobs import Jobs
from trainbox_plugins.native.models import Models
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.surfaces import Handler, Route, Surface

KnownHandler = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]


class NativeSurface(Surface):
    """Datasets, jobs, models and predictions in trainbox's own words."""

    name: ClassVar[str] = "native"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1",)

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()

    def routes(self, engine: Engine) -> Sequence[Route]:
        """Return every route; each asks for a token."""
        datasets, jobs = Datasets(engine, self._config), Jobs(engine, self._config)
        models, catalogue = Models(engine), Catalogue(engine)
        table: list[tuple[str, str, KnownHandler]] = [
            ("GET", "/v1/datasets", datasets.list),
            ("GET", "/v1/datasets/{id}", datasets.show),
            ("POST", "/v1/jobs", jobs.create),
            ("GET", "/v1/jobs", jobs.list),
            ("GET", "/v1/jobs/{id}", jobs.show),
            ("POST", "/v1/jobs/{id}/cancel", jobs.cancel),
            ("POST", "/v1/jobs/{id}/retry", jobs.retry),
            ("GET", "/v1/jobs/{id}/logs", jobs.logs),
            ("GET", "/v1/jobs/{id}/events", jobs.events),
            ("GET", "/v1/jobs/{id}/artifacts", jobs.artifacts),
            ("GET", "/v1/events", jobs.all_events),
            ("GET", "/v1/artifacts/{id}/content", jobs.content),
            ("HEAD", "/v1/artifacts/{id}/content", jobs.content),
            ("GET", "/v1/models", models.list),
            ("GET", "/v1/models/{ref}", models.show),
            ("GET", "/v1/models/{ref}/onnx", models.onnx),
            ("HEAD", "/v1/models/{ref}/onnx", models.onnx),
            ("PUT", "/v1/models/{ref}/aliases/{alias}", models.set_alias),
            ("GET", "/v1/tasks", catalogue.tasks),
            ("GET", "/v1/tasks/{name}", catalogue.task),
            ("GET", "/v1/plugins", catalogue.plugins),
            ("GET", "/v1/environments", catalogue.environments),
        ]
        small, large = self._config.max_json_bytes, self._config.max_predict_bytes
        predict = _known(engine, models.predict)
        return [
            *(Route(method, path, _known(engine, call), small) for method, path, call in table),
            Route("POST", "/v1/datasets", _known(engine, datasets.create), None),
            Route("POST", "/v1/models/{ref}/predict", predict, large),
        ]

    def error_response(self, error: Exception, request: web.Request) -> web.Response:
        """Return the problem document."""
        return errors.respond(error, request)


def _known(engine: Engine, handler: KnownHandler) -> Handler:
    """Return a handler that first learns who asks."""

    async def call(request: web.Request) -> web.StreamResponse:
        return await handler(request, await auth.principal(engine, request))

    return call
