"""The fake engine's part of :mod:`trainbox_sdk.calls`: tokens and the audit log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from trainbox_sdk.calls.tokens import (
    SCOPES,
    AuditEntry,
    AuditFilter,
    AuditVerdict,
    IssuedToken,
    TokenView,
)
from trainbox_sdk.documents import Act
from trainbox_sdk.engine import (
    Page,
    Principal,
)
from trainbox_sdk.errors import (
    Conflict,
    FieldError,
    Forbidden,
    NotFound,
    Unauthenticated,
    ValidationFailed,
)
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeTokenCalls(FakeJobs):
    """In memory, by the same contract; its two tokens to begin with are in no listing."""

    async def authenticate(self, token: str) -> Principal:
        """Return who a token belongs to."""
        self._enter("authenticate")
        who = self.principals.get(token)
        if who is None or self._ended(who.token_id):
            raise Unauthenticated("this token is not known", hint="Use the token of this daemon.")
        return who

    async def admit(self, check: Callable[[], Principal]) -> Principal:
        """Return whom a surface's own credential belongs to."""
        self._enter("admit")
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
        self._enter_as_admin("create_token", who)
        if not name.strip() or not scopes or not set(scopes) <= set(SCOPES):
            raise ValidationFailed("no such name or scope", errors=[FieldError(("name",), "bad")])
        subject = subject or name
        alive = [view for view in self._tokens.values() if view.revoked_at is None]
        if any((view.subject, view.name) == (subject, name) for view in alive):
            raise Conflict(f"{subject!r} has a token named {name!r}", code="token_name_taken")
        now = fake_data.now()
        expires = now + timedelta(seconds=expires_in_s) if expires_in_s else None
        made = tuple(sorted(set(scopes)))
        view = TokenView(self._id("tok"), subject, name, made, "api", now, expires)
        self._tokens[view.id] = view
        self._act(who, "token.create", view.id)
        return self._issue(view)

    async def tokens(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[TokenView]:
        """List tokens, newest first."""
        self._enter_as_admin("tokens", who)
        return fake_data.page(list(self._tokens.values()), limit, after)

    async def token(self, who: Principal, token_id: str) -> TokenView:
        """Return a token."""
        self._enter_as_admin("token", who)
        return self._found(token_id)

    async def own_token(self, who: Principal) -> TokenView:
        """Return the token the principal came with."""
        self._enter("own_token")
        if who.token_id:
            return self._found(who.token_id)
        scopes = tuple(sorted(who.scopes))
        return TokenView(f"tok_{who.id}", who.id, who.name, scopes, "api", fake_data.now())

    async def rotate_token(
        self,
        who: Principal,
        token_id: str,
        *,
        grace_s: float = 0.0,
        expires_in_s: float | None = None,
    ) -> IssuedToken:
        """Give a token a new secret; the fake ends the old one at once where there is no grace."""
        self._enter_as_admin("rotate_token", who)
        view, now = self._found(token_id), fake_data.now()
        if self._ended(token_id):
            raise Conflict(f"{token_id} has ended", code="token_ended")
        if grace_s == 0:
            self._forget(token_id)
        until = now + timedelta(seconds=grace_s) if grace_s else None
        expires = now + timedelta(seconds=expires_in_s) if expires_in_s else view.expires_at
        view = replace(view, rotated_at=now, previous_until=until, expires_at=expires)
        self._tokens[token_id] = view
        self._act(who, "token.rotate", token_id)
        return self._issue(view)

    async def revoke_token(self, who: Principal, token_id: str) -> TokenView:
        """End a token."""
        self._enter_as_admin("revoke_token", who)
        view = self._found(token_id)
        if view.revoked_at is None:
            view = self._tokens[token_id] = replace(view, revoked_at=fake_data.now())
            self._act(who, "token.revoke", token_id)
        return view

    async def audit(self, who: Principal, which: AuditFilter) -> Page[AuditEntry]:
        """List acts, newest first: on tokens, assets and documents, and submissions."""
        self._enter_as_admin("audit", who)
        shown = [
            entry
            for entry in self._audit
            if which.who in (None, entry.who)
            and which.object in (None, entry.object)
            and fake_data.is_act(which.act, entry.act)
        ]
        return fake_data.page(shown, which.limit, which.after)

    async def verify_audit(self, who: Principal) -> AuditVerdict:
        """Say that nothing was changed."""
        self._enter_as_admin("verify_audit", who)
        head = self._audit[-1] if self._audit else None
        rows = len(self._audit)
        return AuditVerdict(True, rows, rows, head.hash if head else "", 0)

    def _enter_as_admin(self, name: str, who: Principal) -> None:
        self._enter(name)
        if "admin" not in who.scopes:
            raise Forbidden(f"token {who.name!r} lacks the scope 'admin'")

    def _found(self, token_id: str) -> TokenView:
        if token_id not in self._tokens:
            raise NotFound(f"there is no token {token_id!r}", code="token_not_found")
        return self._tokens[token_id]

    def _ended(self, token_id: str) -> bool:
        view = self._tokens.get(token_id)
        if view is None:
            return False
        expired = view.expires_at is not None and view.expires_at <= fake_data.now()
        return expired or view.revoked_at is not None

    def _issue(self, view: TokenView) -> IssuedToken:
        secret = f"tb_{view.id}_{next(self._ids)}"
        self.principals[secret] = Principal(
            view.subject, view.name, frozenset(view.scopes), view.id
        )
        return IssuedToken(view, secret)

    def _forget(self, token_id: str) -> None:
        for text, who in list(self.principals.items()):
            if who.token_id == token_id:
                del self.principals[text]

    def _act(self, who: Principal, act: str, token_id: str) -> None:
        self._note(who.actor, [Act(act, token_id)], token_id=who.token_id)
