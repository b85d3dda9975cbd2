"""``/v1/webhooks`` and their deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.replies import json_reply, page_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import Endpoint, PageOut, gives
from trainbox_plugins.native.webhooks import translate, wire
from trainbox_plugins.native.wire import NoQuery, PageQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation, Reply

ONE = "/v1/webhooks/{id}"
DELIVERIES = "/v1/webhooks/{id}/deliveries"


class Webhooks:
    """Handlers for webhooks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of webhooks."""
        return [*self._kept(), *self._sent()]

    def _kept(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                "POST",
                "/v1/webhooks",
                self.create,
                Operation(
                    "createWebhook",
                    "webhooks",
                    "Have a URL told what happens",
                    gives(wire.IssuedOut, "With the secret, shown this once.", status=201),
                    scope="submit",
                    query=NoQuery,
                    problems=(409, 422, 507),
                    body=(Content(wire.WebhookIn),),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/webhooks",
                self.list,
                Operation(
                    "listWebhooks",
                    "webhooks",
                    "List webhooks, newest first",
                    gives(PageOut[wire.WebhookOut]),
                    scope="read",
                    query=PageQuery,
                    problems=(422,),
                ),
            ),
            Endpoint(
                "GET",
                ONE,
                self.show,
                Operation(
                    "getWebhook",
                    "webhooks",
                    "Show a webhook",
                    gives(wire.WebhookOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "PATCH",
                ONE,
                self.change,
                Operation(
                    "changeWebhook",
                    "webhooks",
                    "Change, pause or revive a webhook",
                    gives(wire.WebhookOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 422),
                    body=(Content(wire.WebhookChangeIn),),
                ),
            ),
            Endpoint(
                "DELETE",
                ONE,
                self.delete,
                Operation(
                    "deleteWebhook",
                    "webhooks",
                    "Delete a webhook and its log",
                    {204: Reply("Gone.")},
                    scope="submit",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "POST",
                f"{ONE}/rotate",
                self.rotate,
                Operation(
                    "rotateWebhookSecret",
                    "webhooks",
                    "Give it a new secret; both sign for 24 hours",
                    gives(wire.IssuedOut, "With the new secret, shown this once."),
                    scope="submit",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
        ]

    def _sent(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                "POST",
                f"{ONE}/test",
                self.test,
                Operation(
                    "testWebhook",
                    "webhooks",
                    "Send it a webhook.test message",
                    gives(wire.DeliveryOut, "Queued.", status=202),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
            Endpoint(
                "GET",
                DELIVERIES,
                self.deliveries,
                Operation(
                    "listDeliveries",
                    "webhooks",
                    "What was sent, or is to be sent",
                    gives(PageOut[wire.DeliveryOut]),
                    scope="read",
                    query=PageQuery,
                    problems=(404, 422),
                ),
            ),
            Endpoint(
                "POST",
                f"{DELIVERIES}/{{did}}/redeliver",
                self.redeliver,
                Operation(
                    "redeliver",
                    "webhooks",
                    "Send a message once more",
                    gives(wire.DeliveryOut, "Queued, as a delivery of its own.", status=202),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
        ]

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/webhooks``."""
        query(request, NoQuery)
        new = translate.new_webhook(await json_body(request, wire.WebhookIn))
        made = await self._engine.create_webhook(who, new)
        headers = {"Location": f"/v1/webhooks/{made.webhook.id}"}
        return json_reply(translate.issued(made), status=201, headers=headers)

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/webhooks``."""
        asked = query(request, PageQuery)
        page = await self._engine.webhooks(who, limit=asked.limit, after=asked.after)
        return page_reply(page, translate.webhook)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/webhooks/{id}``."""
        query(request, NoQuery)
        view = await self._engine.webhook(who, request.match_info["id"])
        return json_reply(translate.webhook(view))

    async def change(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``PATCH /v1/webhooks/{id}``."""
        query(request, NoQuery)
        change = translate.change(await json_body(request, wire.WebhookChangeIn))
        view = await self._engine.change_webhook(who, request.match_info["id"], change)
        return json_reply(translate.webhook(view))

    async def delete(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/webhooks/{id}``."""
        query(request, NoQuery)
        await self._engine.delete_webhook(who, request.match_info["id"])
        return web.Response(status=204)

    async def rotate(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/webhooks/{id}/rotate``."""
        query(request, NoQuery)
        made = await self._engine.rotate_webhook(who, request.match_info["id"])
        return json_reply(translate.issued(made))

    async def test(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/webhooks/{id}/test``."""
        query(request, NoQuery)
        view = await self._engine.test_webhook(who, request.match_info["id"])
        return json_reply(translate.delivery(view), status=202)

    async def deliveries(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/webhooks/{id}/deliveries``."""
        asked = query(request, PageQuery)
        page = await self._engine.deliveries(
            who, request.match_info["id"], limit=asked.limit, after=asked.after
        )
        return page_reply(page, translate.delivery)

    async def redeliver(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/webhooks/{id}/deliveries/{did}/redeliver``."""
        query(request, NoQuery)
        view = await self._engine.redeliver(
            who, request.match_info["id"], request.match_info["did"]
        )
        return json_reply(translate.delivery(view), status=202)
