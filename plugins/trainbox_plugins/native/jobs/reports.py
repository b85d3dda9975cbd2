"""``/v1/jobs/compare``, and of one job ``/explain`` and ``/reproduce``."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.jobs import reporting, wire
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import Endpoint, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Operation


class Reports:
    """Handlers for what is told about jobs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint(
                "GET",
                "/v1/jobs/compare",
                self.compare,
                Operation(
                    "compareJobs",
                    "jobs",
                    "Put jobs side by side",
                    gives(wire.ComparisonOut),
                    scope="read",
                    query=wire.CompareQuery,
                    problems=(404, 422),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/jobs/{id}/explain",
                self.explain,
                Operation(
                    "explainJob",
                    "jobs",
                    "Why it waits, how it ended, what to do next",
                    gives(wire.ExplanationOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/jobs/{id}/reproduce",
                self.reproduce,
                Operation(
                    "reproduceJob",
                    "jobs",
                    "How to submit the same job again",
                    gives(wire.ReproductionOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
        ]

    async def compare(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/compare``."""
        ids = [part for text in query(request, wire.CompareQuery).ids for part in text.split(",")]
        return json_reply(reporting.comparison(await self._engine.compare_jobs(who, ids)))

    async def explain(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/explain``."""
        query(request, NoQuery)
        url = _url(request)
        told = await self._engine.explain_job(who, request.match_info["id"], url=url)
        return json_reply(reporting.explanation(told))

    async def reproduce(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/reproduce``."""
        query(request, NoQuery)
        url = _url(request)
        told = await self._engine.reproduce_job(who, request.match_info["id"], url=url)
        return json_reply(reporting.reproduction(told))


def _url(request: web.Request) -> str:
    """Return where the caller found us; the listener has checked the Host header."""
    return f"{request.scheme}://{request.host}"
