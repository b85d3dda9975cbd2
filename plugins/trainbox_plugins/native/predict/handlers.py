"""``/v1/models/{ref}/predict``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiohttp import web

from trainbox_plugins.native.config import Config
from trainbox_plugins.native.errors import UnsupportedMedia
from trainbox_plugins.native.predict import translate, wire
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import Endpoint
from trainbox_sdk.artifacts import Prediction, PredictRequest
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import JSON, Content, Operation, Reply
from trainbox_sdk.predictions import TableFormat, TableRequest
from trainbox_sdk.spreadsheets import csv_text

TABLES: Mapping[str, TableFormat] = {
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.arrow.file": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
"""What a request's body may be beside JSON."""
ANSWERS: Mapping[str, TableFormat | None] = {
    JSON: None,
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
"""What an answer may be, the preferred one first."""


class Predictions:
    """Handlers for predictions."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of predictions."""
        tables = tuple(Content(None, name) for name in ANSWERS if name != JSON)
        return [
            Endpoint(
                "POST",
                "/v1/models/{ref}/predict",
                self.predict,
                Operation(
                    "predict",
                    "predict",
                    "Rows in, rows out",
                    {200: Reply("One row per row.", (Content(wire.PredictionOut), *tables))},
                    scope="predict",
                    query=wire.PredictQuery,
                    problems=(404, 406, 413, 415, 422, 503),
                    body=(
                        Content(wire.PredictIn),
                        *(Content(None, media_type) for media_type in TABLES),
                    ),
                ),
                max_body_bytes=self._config.max_predict_bytes,
            ),
        ]

    async def predict(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/models/{ref}/predict``: rows in, rows out."""
        options = query(request, wire.PredictQuery)
        form = accepted(request.headers.get("Accept", ""))
        model = request.match_info["ref"]
        if request.content_type in TABLES:
            table = TableRequest(
                model, TABLES[request.content_type], await request.read(), options.ignore_extra
            )
            result = await self._engine.predict_table(who, table)
        elif request.content_type == JSON:
            body = await json_body(request, wire.PredictIn, once=True)
            asked = PredictRequest(model, translate.rows(body), options.ignore_extra)
            result = await self._engine.predict(who, asked)
        else:
            raise UnsupportedMedia(
                f"This route reads {', '.join((JSON, *TABLES))}, "
                f"not {request.content_type[:100]!r}.",
                hint="Say in the Content-Type header what the body is.",
            )
        if form == JSON:
            return json_reply(translate.prediction(result))
        return await self._table(who, result, form)

    async def _table(self, who: Principal, result: Prediction, form: str) -> web.StreamResponse:
        columns = await asyncio.to_thread(translate.columns, result)
        format_ = ANSWERS[form]
        if format_ == "csv":
            rows = list(zip(*columns.values(), strict=True))
            text = await asyncio.to_thread(csv_text, list(columns), rows)
            return web.Response(text=text, content_type=form)
        assert format_ is not None
        data = await self._engine.write_table(who, columns, format_)
        return web.Response(body=data, content_type=form)


def accepted(header: str) -> str:
    """Return the answer a caller likes best (RFC 9110 §12.5.1); JSON where it does not matter.

    Raises:
        web.HTTPNotAcceptable: 406, none of :data:`ANSWERS`.
    """
    if header in {"", "*/*", JSON}:
        return JSON
    wishes = [_wish(part) for part in header.split(",")]
    best, chosen = 0.0, ""
    for name in ANSWERS:
        fitting = [wish for wish in wishes if wish[0] in {name, f"{name.split('/')[0]}/*", "*/*"}]
        # The most exact name that fits decides.
        weight = max(fitting, key=lambda wish: (wish[0].count("*") * -1,), default=("", 0.0))[1]
        if weight > best:
            best, chosen = weight, name
    if not chosen:
        raise web.HTTPNotAcceptable(text=f"This route answers {', '.join(ANSWERS)}.")
    return chosen


def _wish(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return name, min(max(float(weight), 0.0), 1.0)
    except ValueError:
        return name, 0.0
