"""``/v1/models/{name}/aliases``: where they point, who moved them, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.models import translate, wire
from trainbox_plugins.native.replies import json_reply, page_reply
from trainbox_plugins.native.requests import json_body, query
from trainbox_plugins.native.table import Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery, PageQuery
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.models import AliasMove
from trainbox_sdk.operations import Content, Operation, Reply

_ALIAS = re.compile(wire.ALIAS)
_PATH = {"alias": wire.Alias}


class Aliases:
    """Handlers for aliases; a name is one of the caller's own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of aliases."""
        return [*self._looks(), *self._named(), *self._moves()]

    def _looks(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/models/{name}/aliases",
                self.list,
                Operation(
                    "listModelAliases",
                    "models",
                    "List the aliases of a name",
                    gives(wire.AliasesOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/models/{name}/aliases/{alias}/history",
                self.history,
                Operation(
                    "listModelAliasChanges",
                    "models",
                    "List the moves of an alias, newest first",
                    gives(PageOut[wire.AliasChangeOut]),
                    scope="read",
                    query=PageQuery,
                    path=_PATH,
                    problems=(404, 422),
                ),
            ),
        ]

    def _named(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                "PUT",
                "/v1/models/{name}/aliases/{alias}",
                self.put,
                Operation(
                    "setModelAlias",
                    "models",
                    "Point an alias at a version",
                    gives(wire.AliasOut),
                    scope="submit",
                    query=NoQuery,
                    path=_PATH,
                    problems=(404, 409, 415, 422),
                    body=(Content(wire.AliasIn),),
                ),
            ),
            Endpoint(
                "DELETE",
                "/v1/models/{name}/aliases/{alias}",
                self.delete,
                Operation(
                    "deleteModelAlias",
                    "models",
                    "Take an alias away; its history stays",
                    {204: Reply("It points nowhere.")},
                    scope="submit",
                    query=wire.DeleteAliasQuery,
                    path=_PATH,
                    problems=(404, 409, 422),
                ),
            ),
        ]

    def _moves(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                "POST",
                "/v1/models/{name}/promote",
                self.promote,
                Operation(
                    "promoteModel",
                    "models",
                    "Point an alias at a version that is loaded first",
                    gives(wire.AliasOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409, 415, 422),
                    body=(Content(wire.PromoteIn),),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/models/{name}/rollback",
                self.roll_back,
                Operation(
                    "rollBackModel",
                    "models",
                    "Point an alias at the version before",
                    gives(wire.AliasOut),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409, 415, 422),
                    body=(Content(wire.RollbackIn),),
                ),
            ),
        ]

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{name}/aliases``."""
        query(request, NoQuery)
        found = await self._engine.aliases(who, request.match_info["name"])
        return json_reply({"items": [translate.alias(one) for one in found]})

    async def history(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/models/{name}/aliases/{alias}/history``."""
        asked = query(request, PageQuery)
        page = await self._engine.alias_history(
            who,
            request.match_info["name"],
            _alias(request),
            limit=asked.limit,
            after=asked.after,
        )
        return page_reply(page, translate.change)

    async def put(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``PUT /v1/models/{name}/aliases/{alias}``: point the alias at a version of that name."""
        query(request, NoQuery)
        alias = _alias(request)
        body = await json_body(request, wire.AliasIn)
        wish = AliasMove(request.match_info["name"], alias, **body.model_dump())
        return json_reply(translate.alias(await self._engine.set_alias(who, wish)))

    async def promote(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/models/{name}/promote``."""
        query(request, NoQuery)
        body = await json_body(request, wire.PromoteIn)
        wish = AliasMove(request.match_info["name"], act="promote", **body.model_dump())
        return json_reply(translate.alias(await self._engine.set_alias(who, wish)))

    async def roll_back(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/models/{name}/rollback``."""
        query(request, NoQuery)
        body = await json_body(request, wire.RollbackIn)
        wish = AliasMove(request.match_info["name"], act="rollback", **body.model_dump())
        return json_reply(translate.alias(await self._engine.roll_back_alias(who, wish)))

    async def delete(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``DELETE /v1/models/{name}/aliases/{alias}``."""
        asked = query(request, wire.DeleteAliasQuery)
        wish = AliasMove(request.match_info["name"], _alias(request), None, **asked.model_dump())
        await self._engine.delete_alias(who, wish)
        return web.Response(status=204)


def _alias(request: web.Request) -> str:
    alias = request.match_info["alias"]
    if not _ALIAS.fullmatch(alias):
        reason = "must be 1 to 64 letters, digits, '.', '_' or '-', a letter first"
        raise ValidationFailed(
            f"The alias {alias[:80]!r} {reason}.", errors=[FieldError(("path", "alias"), reason)]
        )
    return alias
