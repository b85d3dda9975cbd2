"""A token as every request needs it, in memory; and how its text is made and digested."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from trainbox.store import codec, cursors
from trainbox.store.tables import TokenRow
from trainbox.store.times import micros, moment
from trainbox_sdk.calls.tokens import TokenView
from trainbox_sdk.engine import Principal


@dataclass(frozen=True)
class KnownToken:
    """A token as every request needs it; times in microseconds."""

    seq: int
    view: TokenView
    principal: Principal
    secret_sha256: str
    previous_sha256: str
    previous_until: int
    ends_at: int
    used_at: int

    def opens(self, digest: str, now: int) -> bool:
        """Whether a secret of that digest is good now; every way to be wrong takes as long."""
        current = hmac.compare_digest(digest, self.secret_sha256)
        previous = hmac.compare_digest(digest, self.previous_sha256)
        return (current or (previous and now < self.previous_until)) and self.usable(now)

    def usable(self, now: int) -> bool:
        """Whether it has not ended."""
        return self.view.revoked_at is None and now < self.ends_at


def new_text(token_id: str) -> tuple[str, str]:
    """Return a new text of a token and the digest of its secret."""
    secret = secrets.token_hex(32)
    return f"tb_{token_id.removeprefix('tok_')}_{secret}", digest_of(secret)


def digest_of(secret: str) -> str:
    """Return the sha256 of a secret as hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def end_of(expires_at: int | None) -> int:
    """Return the end in microseconds, also of what has none."""
    return cursors.BEFORE_ALL if expires_at is None else expires_at


def known_token(row: TokenRow) -> KnownToken:
    """Return a row as requests need it."""
    assert row.seq is not None
    return from_view(row.seq, view_of(row), row.secret_sha256, row.previous_sha256 or "")


def from_view(seq: int, view: TokenView, secret: str, previous: str) -> KnownToken:
    """Return a token from how it is shown and what opens it."""
    return KnownToken(
        seq=seq,
        view=view,
        principal=Principal(view.subject, view.name, frozenset(view.scopes), view.id),
        secret_sha256=secret,
        previous_sha256=previous,
        previous_until=micros(view.previous_until) or 0,
        ends_at=end_of(micros(view.expires_at)),
        used_at=micros(view.last_used_at) or 0,
    )


def view_of(row: TokenRow) -> TokenView:
    """Return a row as it is shown."""
    return TokenView(
        id=row.id,
        subject=row.subject,
        name=row.name,
        scopes=tuple(codec.load(row.scopes)),
        source=row.source,
        created_at=moment(row.created_at),
        expires_at=moment(row.expires_at),
        rotated_at=moment(row.rotated_at),
        previous_until=moment(row.previous_until),
        revoked_at=moment(row.revoked_at),
        last_used_at=moment(row.last_used_at),
    )


NOBODY = from_view(
    0, TokenView("", "", "", (), "api", moment(0), expires_at=moment(0)), digest_of(""), ""
)
"""Compared where the id is unknown, so that both answers take as long; no secret opens it."""
