"""What this daemon can do: ``/v1/tasks``, ``/v1/plugins``, ``/v1/environments``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from trainbox_plugins.native.catalogue import translate, wire
from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import did_you_mean, query
from trainbox_plugins.native.table import Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import NotFound
from trainbox_sdk.operations import Operation


class Catalogue:
    """Handlers for listings that change only with the installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of what is installed."""
        return [
            Endpoint(
                "GET",
                "/v1/tasks",
                self.tasks,
                Operation(
                    "listTasks",
                    "catalogue",
                    "List task types",
                    gives(PageOut[wire.TaskOut]),
                    scope="read",
                    query=NoQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/tasks/{name}",
                self.task,
                Operation(
                    "getTask",
                    "catalogue",
                    "Show a task type and the JSON Schema of its parameters",
                    gives(wire.TaskOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/plugins",
                self.plugins,
                Operation(
                    "listPlugins",
                    "catalogue",
                    "List plugins, loaded and not",
                    gives(PageOut[wire.PluginOut]),
                    scope="read",
                    query=NoQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/environments",
                self.environments,
                Operation(
                    "listEnvironments",
                    "catalogue",
                    "List environments and where they are built",
                    gives(PageOut[dict[str, Any]]),
                    scope="read",
                    query=NoQuery,
                ),
            ),
        ]

    async def tasks(self, request: web.Request, _who: Principal) -> web.StreamResponse:
        """``GET /v1/tasks``."""
        query(request, NoQuery)
        infos = self._engine.tasks()
        return json_reply({"items": [translate.task(info) for info in infos], "next": None})

    async def task(self, request: web.Request, _who: Principal) -> web.StreamResponse:
        """``GET /v1/tasks/{name}``: with the JSON Schema of its parameters."""
        query(request, NoQuery)
        name = request.match_info["name"]
        infos = {info.name: info for info in self._engine.tasks()}
        if name not in infos:
            raise NotFound(
                f"There is no task {name!r}.",
                code="task_not_found",
                hint=did_you_mean(name, infos),
            )
        return json_reply(translate.task(infos[name]))

    async def plugins(self, request: web.Request, _who: Principal) -> web.StreamResponse:
        """``GET /v1/plugins``: loaded, quarantined, not listed, missing."""
        query(request, NoQuery)
        infos = await self._engine.plugins()
        return json_reply({"items": [translate.plugin(info) for info in infos], "next": None})

    async def environments(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/environments``: per backend, whether each is built."""
        query(request, NoQuery)
        return json_reply({"items": list(await self._engine.environments(who)), "next": None})
