"""Credentials and the audit log, as surfaces see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.calls.tokens import (
    AuditEntry,
    AuditFilter,
    AuditVerdict,
    IssuedToken,
    TokenView,
)
from trainbox_sdk.engine import (
    Page,
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
                "this token is not known",
                hint="it may have expired or been revoked; an admin makes a new one with "
                "POST /v1/tokens",
            )
        return principal

    async def admit(self, check: Callable[[], Principal]) -> Principal:
        """Return whom a surface's own credential belongs to."""
        return check()

    async def create_token(
        self,
        who: Principal,
        *,
        name: str,
        scopes: Sequence[str],
        subject: str | None = None,
        expires_in_s: float | None = None,
    ) -> IssuedToken:
        """Make a token."""
        return await self._r.tokens.create(
            who, name=name, scopes=scopes, subject=subject, expires_in_s=expires_in_s
        )

    async def tokens(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[TokenView]:
        """List tokens."""
        return await self._r.tokens.list(who, limit=limit, after=after)

    async def token(self, who: Principal, token_id: str) -> TokenView:
        """Return a token."""
        return await self._r.tokens.get(who, token_id)

    async def own_token(self, who: Principal) -> TokenView:
        """Return the token the caller came with."""
        return await self._r.tokens.own(who)

    async def rotate_token(
        self,
        who: Principal,
        token_id: str,
        *,
        grace_s: float = 0.0,
        expires_in_s: float | None = None,
    ) -> IssuedToken:
        """Give a token a new secret."""
        return await self._r.tokens.rotate(
            who, token_id, grace_s=grace_s, expires_in_s=expires_in_s
        )

    async def revoke_token(self, who: Principal, token_id: str) -> TokenView:
        """End a token now."""
        return await self._r.tokens.revoke(who, token_id)

    async def audit(self, who: Principal, which: AuditFilter) -> Page[AuditEntry]:
        """List acts."""
        return await self._r.tokens.audit(who, which)

    async def verify_audit(self, who: Principal) -> AuditVerdict:
        """Judge the audit log."""
        return await self._r.tokens.verify_audit(who)
