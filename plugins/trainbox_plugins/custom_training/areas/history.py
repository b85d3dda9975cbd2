"""The audit log of a model, and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.custom_training import answers, wire
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.history import History
from trainbox_plugins.custom_training.library import Library
from trainbox_plugins.custom_training.reading import json_reply, query
from trainbox_plugins.custom_training.table import MODEL, Endpoint, gives, operation
from trainbox_sdk.engine import Engine


class ModelHistory:
    """Handlers of ``…/audit-logs`` and ``…/activity``."""

    def __init__(self, engine: Engine, library: Library) -> None:
        self._library = library
        self._history = History(engine)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint("GET", f"{MODEL}/audit-logs", self.audit,
                     operation("customAuditLogs", "Who did what to a model; cannot be changed",
                               gives(answers.AuditPageOut), "model:audit",
                               query=wire.AuditQuery, problems=(422,))),
            Endpoint("GET", f"{MODEL}/activity", self.activity,
                     operation("customActivity", "What happened to a model, newest first",
                               gives(answers.ActivityOut), "model:read",
                               query=wire.ActivityQuery, problems=(422,))),
        ]  # fmt: skip

    async def audit(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/audit-logs``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        return json_reply(await self._history.audit(model.id, query(request, wire.AuditQuery)))

    async def activity(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/activity``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.ActivityQuery)
        return json_reply(await self._history.activity(model.id, asked))
