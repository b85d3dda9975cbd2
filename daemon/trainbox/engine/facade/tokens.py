"""Credentials, as surfaces see them."""

from __future__ import annotations

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.engine import (
    Principal,
)
from trainbox_sdk.errors import Unauthenticated


class TokenDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.tokens.TokenCalls`."""

    async def authenticate(self, token: str) -> Principal:
        """Return who a bearer token belongs to."""
        principal = await self._r.store.tokens.verify(token)
        if principal is None:
            raise Unauthenticated(
                "this token is not known", hint="send Authorization: Bearer <token>"
            )
        return principal
