"""Bearer tokens (RFC 6750), in the header only: a URL ends up in logs and histories."""

from __future__ import annotations

from aiohttp import hdrs, web

from trainbox_plugins.native.table import ANY_TOKEN
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import Forbidden, Unauthenticated


def bearer(request: web.BaseRequest) -> str:
    """Return the token of a request.

    Raises:
        Unauthenticated: no header, several, another scheme, or an empty token.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not given:
        raise Unauthenticated(
            "This request carries no token.",
            code="missing_token",
            hint="Send 'Authorization: Bearer <token>'; the daemon's first token is in the file "
            "'token' of its state directory.",
        )
    scheme, _, token = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            "The Authorization header is not 'Bearer <token>'.", code="malformed_token"
        )
    return token.strip()


async def principal(engine: Engine, request: web.BaseRequest) -> Principal:
    """Return who asks.

    Raises:
        Unauthenticated: no token, or one the engine does not know.
    """
    return await engine.authenticate(bearer(request))


def require(who: Principal, scope: str | None) -> None:
    """Refuse a token without the scope that a route declares.

    Raises:
        Forbidden: naming the scope.
    """
    if scope in (None, ANY_TOKEN) or scope in who.scopes or "admin" in who.scopes:
        return
    raise Forbidden(
        f"token {who.name!r} lacks the scope {scope!r}",
        code="missing_scope",
        hint=f"use a token that has it; this one has {', '.join(sorted(who.scopes)) or 'none'}",
    )
