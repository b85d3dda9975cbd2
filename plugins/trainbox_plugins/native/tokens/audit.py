"""``/v1/audit``."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.replies import json_reply, page_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import Endpoint, PageOut, gives
from trainbox_plugins.native.tokens import translate, wire
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.calls.tokens import AuditFilter
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Operation


class Audit:
    """Handlers for the audit log."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of the audit log."""
        return [
            Endpoint(
                "GET",
                "/v1/audit",
                self.list,
                Operation(
                    "listAudit",
                    "audit",
                    "List who did what, newest first",
                    gives(PageOut[wire.AuditOut]),
                    scope="admin",
                    query=wire.AuditQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/audit/verify",
                self.verify,
                Operation(
                    "verifyAudit",
                    "audit",
                    "Read the whole log and check its chain and anchors",
                    gives(wire.AuditVerdictOut),
                    scope="admin",
                    query=NoQuery,
                ),
            ),
        ]

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/audit``."""
        asked = query(request, wire.AuditQuery)
        page = await self._engine.audit(who, AuditFilter(**asked.model_dump()))
        return page_reply(page, translate.act)

    async def verify(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/audit/verify``."""
        query(request, NoQuery)
        return json_reply(translate.verdict(await self._engine.verify_audit(who)))
