"""``/v1/tokens``."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.replies import json_reply, page_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import ANY_TOKEN, Endpoint, PageOut, gives
from trainbox_plugins.native.tokens import translate, wire
from trainbox_plugins.native.wire import NoQuery, PageQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation

ADMIN = "admin"


class Tokens:
    """Handlers for tokens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of tokens."""
        return [
            Endpoint(
                "POST",
                "/v1/tokens",
                self.create,
                Operation(
                    "createToken",
                    "tokens",
                    "Make a token; its text is in this answer alone",
                    gives(wire.IssuedTokenOut, "The token, with its text.", status=201),
                    scope=ADMIN,
                    query=NoQuery,
                    problems=(409, 415, 422),
                    body=(Content(wire.TokenIn),),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/tokens",
                self.list,
                Operation(
                    "listTokens",
                    "tokens",
                    "List tokens, also the ended ones, newest first",
                    gives(PageOut[wire.TokenOut]),
                    scope=ADMIN,
                    query=PageQuery,
                ),
            ),
            Endpoint(
                "GET",
                "/v1/tokens/self",
                self.own,
                Operation(
                    "getOwnToken",
                    "tokens",
                    "Show the token of this request",
                    gives(wire.TokenOut),
                    scope=ANY_TOKEN,
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/tokens/{id}",
                self.show,
                Operation(
                    "getToken",
                    "tokens",
                    "Show a token",
                    gives(wire.TokenOut),
                    scope=ADMIN,
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/tokens/{id}/rotate",
                self.rotate,
                Operation(
                    "rotateToken",
                    "tokens",
                    "Give a token a new secret",
                    gives(wire.IssuedTokenOut, "The token, with its new text."),
                    scope=ADMIN,
                    query=NoQuery,
                    problems=(404, 409, 415, 422),
                    body=(Content(wire.RotateIn),),
                    description="The secret it had stays good for `grace_s` seconds; an earlier one"
                    " ends at once.",
                ),
            ),
            Endpoint(
                "DELETE",
                "/v1/tokens/{id}",
                self.revoke,
                Operation(
                    "revokeToken",
                    "tokens",
                    "End a token now",
                    gives(wire.TokenOut, "The token as it ended; a second call changes nothing."),
                    scope=ADMIN,
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
        ]

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/tokens``."""
        query(request, NoQuery)
        body = await json_body(request, wire.TokenIn)
        made = await self._engine.create_token(
            who,
            name=body.name,
            scopes=body.scopes,
            subject=body.subject,
            expires_in_s=body.expires_in_s,
        )
        return json_reply(translate.issued(made), status=201)

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/tokens``."""
        asked = query(request, PageQuery)
        page = await self._engine.tokens(who, limit=asked.limit, after=asked.after)
        return page_reply(page, translate.token)

    async def own(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/tokens/self``."""
        query(request, NoQuery)
        return json_reply(translate.token(await self._engine.own_token(who)))

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/tokens/{id}``."""
        query(request, NoQuery)
        view = await self._engine.token(who, request.match_info["id"])
        return json_reply(translate.token(view))

    async def rotate(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/tokens/{id}/rotate``."""
        query(request, NoQuery)
        body = await json_body(request, wire.RotateIn)
        made = await self._engine.rotate_token(
            who,
            request.match_info["id"],
            grace_s=body.grace_s,
            expires_in_s=body.expires_in_s,
        )
        return json_reply(translate.issued(made))

    async def revoke(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/tokens/{id}``."""
        query(request, NoQuery)
        view = await self._engine.revoke_token(who, request.match_info["id"])
        return json_reply(translate.token(view))
