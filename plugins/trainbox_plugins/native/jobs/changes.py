"""``PATCH`` and ``DELETE`` of ``/v1/jobs/{id}``."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.jobs import reporting, translate, wire
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import Endpoint, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation


class Changes:
    """Handlers for what may be changed about a job."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint(
                "PATCH",
                "/v1/jobs/{id}",
                self.change,
                Operation(
                    "changeJob",
                    "jobs",
                    "Change labels or, while it waits, priority",
                    gives(wire.JobOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409, 422),
                    body=(Content(wire.JobChangeIn),),
                ),
            ),
            Endpoint(
                "DELETE",
                "/v1/jobs/{id}",
                self.delete,
                Operation(
                    "deleteJob",
                    "jobs",
                    "Free the files of an ended job",
                    gives(wire.FreedOut, "Its events stay, and what a model needs."),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
        ]

    async def change(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``PATCH /v1/jobs/{id}``."""
        query(request, NoQuery)
        change = translate.job_change(await json_body(request, wire.JobChangeIn))
        job = await self._engine.change_job(who, request.match_info["id"], change)
        return json_reply(translate.job(job))

    async def delete(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/jobs/{id}``."""
        query(request, NoQuery)
        freed = await self._engine.delete_job(who, request.match_info["id"])
        return json_reply(reporting.freed(freed))
