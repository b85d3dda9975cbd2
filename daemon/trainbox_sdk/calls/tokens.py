"""Tokens: who may do what; and the audit log: who did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trainbox_sdk.calls.base import Page, Principal

SCOPES = ("submit", "read", "predict", "admin")
"""What a token may be allowed; ``admin`` includes the others."""


@dataclass(frozen=True)
class TokenView:
    """A token without its secret.

    Attributes:
        subject: who it speaks for, and the owner of what it makes; outlives the token.
        name: unique among the subject's live tokens.
        source: ``api``, ``first`` (written by the first start) or ``credential`` (handed in by the
            service manager).
        previous_until: until when the secret before the last rotation is still good.
        last_used_at: to the minute.
    """

    id: str
    subject: str
    name: str
    scopes: tuple[str, ...]
    source: str
    created_at: datetime
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    previous_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class IssuedToken:
    """A token with the text that opens it, shown this once."""

    token: TokenView
    secret: str


@dataclass(frozen=True)
class AuditEntry:
    """Who did what, when, to which object.

    Attributes:
        seq: order of the acts; without holes.
        who: subject, or ``daemon``.
        act: such as ``job.submit``.
        object: id of what was acted on.
        note: further facts.
        token_id, request_id, peer: where it came from; empty for the daemon's own acts.
        prev, hash: sha256 of the row before, and of this row with it.
    """

    seq: int
    at: datetime
    who: str
    act: str
    object: str
    note: str
    token_id: str
    request_id: str
    peer: str
    prev: str
    hash: str


@dataclass(frozen=True)
class AuditFilter:
    """Which acts a listing shows, newest first.

    Attributes:
        act: the whole word, or its beginning up to a dot, such as ``token.``.
        since: not before; ``until``: before.
    """

    who: str | None = None
    act: str | None = None
    object: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True)
class AuditVerdict:
    """Whether the audit log is as it was written.

    Attributes:
        rows: how many were looked at.
        head_seq, head_hash: the newest row.
        anchors: notes of earlier heads that were compared.
        first_broken: ``seq`` of the first row that is wrong or missing.
        faults: a sentence each.
    """

    ok: bool
    rows: int
    head_seq: int
    head_hash: str
    anchors: int
    first_broken: int | None = None
    faults: Sequence[str] = ()


class TokenCalls(Protocol):
    """What can be done with credentials."""

    async def authenticate(self, token: str) -> Principal:
        """Return who this bearer token belongs to.

        Raises:
            Unauthenticated: unknown, expired, revoked or malformed.
        """

    async def admit(self, check: Callable[[], Principal]) -> Principal:
        """Let in who came with a credential that only the surface can read.

        A surface that does not ask :meth:`authenticate` asks this, once for each request: so its
        callers have the same rates, and the audit log knows their requests.

        Args:
            check: reads the credential. The principal's ``token_id`` says which it was, without
                giving it away.

        Raises:
            Unauthenticated: as ``check`` says.
            RateLimited: too many requests, or too many bad credentials.
        """

    async def create_token(
        self,
        who: Principal,
        *,
        name: str,
        scopes: Sequence[str],
        subject: str | None = None,
        expires_in_s: float | None = None,
    ) -> IssuedToken:
        """Make a token; only ``admin`` may.

        Args:
            who: who asks.
            name: unique among the subject's live tokens.
            scopes: of :data:`SCOPES`, at least one.
            subject: whose things it sees; the name, where nothing is said.
            expires_in_s: seconds until it ends by itself; None for never.

        Raises:
            ValidationFailed: a name, scope or time that cannot be.
            Conflict: the subject has a live token of that name.
        """

    async def tokens(
        self, who: Principal, *, limit: int = 50, after: str | None = None
    ) -> Page[TokenView]:
        """List tokens, also the ended ones, newest first; only ``admin`` may."""

    async def token(self, who: Principal, token_id: str) -> TokenView:
        """Return a token; only ``admin`` may."""

    async def own_token(self, who: Principal) -> TokenView:
        """Return the token the principal came with.

        Raises:
            NotFound: it came without one.
        """

    async def rotate_token(
        self,
        who: Principal,
        token_id: str,
        *,
        grace_s: float = 0.0,
        expires_in_s: float | None = None,
    ) -> IssuedToken:
        """Give a token a new secret; the old one stays good for ``grace_s`` seconds.

        Args:
            who: an ``admin``.
            token_id: the token, which keeps id, subject, name and scopes.
            grace_s: seconds; the secret before the old one ends at once in any case.
            expires_in_s: new end, counted from now; None leaves it.

        Raises:
            Conflict: it has ended, or its secret comes from the service manager.
        """

    async def revoke_token(self, who: Principal, token_id: str) -> TokenView:
        """End a token now; only ``admin`` may. A second call changes nothing.

        Raises:
            Conflict: it is the last one with ``admin``.
        """

    async def audit(self, who: Principal, which: AuditFilter) -> Page[AuditEntry]:
        """List acts, newest first; only ``admin`` may."""

    async def verify_audit(self, who: Principal) -> AuditVerdict:
        """Read the whole audit log and compare its chain and anchors; only ``admin`` may."""
