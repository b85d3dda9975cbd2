"""The route table of ``/v2``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from aiohttp import web

from trainbox_plugins.open_inference import binary, errors, wire
from trainbox_plugins.open_inference.config import Config
from trainbox_plugins.open_inference.handlers import OCTETS, Handlers
from trainbox_sdk.engine import Engine
from trainbox_sdk.operations import Content, Header, Operation, Reply, SecurityScheme
from trainbox_sdk.surfaces import Handler, Route, Surface

SMALL = 64 * 1024
TAG = "open inference"
MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"
_LENGTH = "Bytes of JSON in front of the binary tensors; absent where all of the body is JSON."


class OpenInferenceSurface(Surface):
    """The Open Inference Protocol v2 with the binary tensor extension."""

    name: ClassVar[str] = "open_inference"
    prefixes: ClassVar[tuple[str, ...]] = ("/v2",)
    security: ClassVar[SecurityScheme | None] = SecurityScheme(
        "inferenceToken", {"type": "http", "scheme": "bearer"}
    )
    problem: ClassVar[Content] = Content(wire.ErrorOut)

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()

    def routes(self, engine: Engine) -> Sequence[Route]:
        """Return the routes: health for all, the rest for who has a token."""
        on = Handlers(engine)
        return [
            *self._model(on, MODEL, ""),
            *self._model(on, VERSION, "Version"),
            *self._health(on),
            _get("/v2", on.server, "inferServer", "The server", wire.ServerOut),
            Route(
                "POST",
                "/v2/repository/index",
                on.index,
                SMALL,
                Operation(
                    "inferIndex",
                    TAG,
                    "Every model version",
                    _gives(list[wire.IndexOut]),
                    problems=(400, 413),
                    scope="read",
                    body=(Content(wire.IndexIn),),
                    body_required=False,
                ),
            ),
        ]

    def error_response(self, error: Exception, request: web.Request) -> web.Response:
        """Return ``{"error": …}``."""
        return errors.respond(error, request)

    def _health(self, on: Handlers) -> Sequence[Route]:
        not_yet = {503: Reply("Not yet, or no more.", (Content(wire.ReadyOut),))}
        live, ready = _gives(wire.LiveOut), _gives(wire.ReadyOut) | not_yet
        return [
            Route("GET", "/v2/health/live", on.live, SMALL,
                  Operation("inferLive", TAG, "Whether the server runs", live)),
            Route("GET", "/v2/health/ready", on.ready, SMALL,
                  Operation("inferReady", TAG, "Whether inferences are answered", ready)),
        ]  # fmt: skip

    def _model(self, on: Handlers, path: str, suffix: str) -> Sequence[Route]:
        """Return the routes of a model, or of one version of it."""
        body = (Content(wire.InferIn), Content(None, OCTETS))
        out = Reply(
            "The outputs.",
            (Content(wire.InferOut), Content(None, OCTETS)),
            {binary.HEADER: _LENGTH},
        )
        infer = Operation(
            f"infer{suffix}",
            TAG,
            "Tensors in, tensors out",
            {200: out},
            problems=(400, 404, 413, 503),
            scope="predict",
            headers=(Header(binary.HEADER, _LENGTH),),
            body=body,
            description="Requests without Content-Type are read as what they are.",
        )
        return [
            # First: the router tries what lies under one prefix in this order.
            Route("POST", f"{path}/infer", on.infer, self._config.max_infer_bytes, infer),
            _get(path, on.model, f"inferModel{suffix}", "What a model takes and gives",
                 wire.ModelOut, problems=(400, 404, 503), scope="predict"),
            _get(f"{path}/ready", on.model_ready, f"inferModelReady{suffix}",
                 "Whether a worker has the model loaded; loads it",
                 wire.ModelReadyOut, problems=(400, 404, 503), scope="predict"),
        ]  # fmt: skip


def _gives(type_: Any) -> dict[int, Reply]:
    return {200: Reply("As asked.", (Content(type_),))}


def _get(  # noqa: PLR0917 - one row of the table
    path: str,
    handler: Handler,
    name: str,
    summary: str,
    type_: Any,
    problems: tuple[int, ...] = (),
    scope: str = "any",
) -> Route:
    operation = Operation(name, TAG, summary, _gives(type_), problems=problems, scope=scope)
    return Route("GET", path, handler, SMALL, operation)
