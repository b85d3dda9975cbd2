"""``/v1/models/{ref}/predict``."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.config import Config
from trainbox_plugins.native.predict import translate, wire
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import Endpoint, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.artifacts import PredictRequest
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation


class Predictions:
    """Handlers for predictions."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of predictions."""
        return [
            Endpoint(
                "POST",
                "/v1/models/{ref}/predict",
                self.predict,
                Operation(
                    "predict",
                    "predict",
                    "Rows in, rows out",
                    gives(wire.PredictionOut),
                    scope="predict",
                    query=NoQuery,
                    problems=(404, 413, 415, 422, 503),
                    body=(Content(wire.PredictIn),),
                ),
                max_body_bytes=self._config.max_predict_bytes,
            ),
        ]

    async def predict(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/models/{ref}/predict``: rows in, rows out."""
        query(request, NoQuery)
        body = await json_body(request, wire.PredictIn)
        asked = PredictRequest(model=request.match_info["ref"], rows=body.rows)
        return json_reply(translate.prediction(await self._engine.predict(who, asked)))
