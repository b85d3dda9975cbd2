"""The words of ``/v1/tokens`` and ``/v1/audit``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import YEAR_S, Body, PageQuery

Scope = Literal["submit", "read", "predict", "admin"]
TokenName = Annotated[str, Field(min_length=1, max_length=128)]
Age = Annotated[float, Field(ge=1, le=100 * YEAR_S)]
GRACE_S = 30 * 24 * 3600


class TokenIn(Body):
    """``POST /v1/tokens``; ``subject`` is whose things it sees, the name where it is left out."""

    name: TokenName
    subject: TokenName | None = None
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    expires_in_s: Age | None = None


class RotateIn(Body):
    """``POST /v1/tokens/{id}/rotate``; the secret it had is good for ``grace_s`` more seconds."""

    grace_s: Annotated[float, Field(ge=0, le=GRACE_S)] = 0
    expires_in_s: Age | None = None


class AuditQuery(PageQuery):
    """``GET /v1/audit``; ``act`` is a whole act, or its beginning up to a dot: ``token.``."""

    who: Annotated[str, Field(max_length=200)] | None = None
    act: Annotated[str, Field(max_length=64)] | None = None
    object: Annotated[str, Field(max_length=200)] | None = None
    request_id: Annotated[str, Field(max_length=128)] | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class TokenOut(TypedDict):
    """A token without its secret."""

    id: str
    subject: str
    name: str
    scopes: Sequence[Scope]
    source: Literal["api", "first", "credential"]
    created_at: datetime
    expires_at: datetime | None
    rotated_at: datetime | None
    previous_until_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class IssuedTokenOut(TokenOut):
    """A token with its text, which is shown this once."""

    token: str


class AuditOut(TypedDict):
    """One act; ``hash`` covers it and ``prev``, the hash before."""

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


class AuditVerdictOut(TypedDict):
    """Whether the log is as it was written."""

    ok: bool
    rows: int
    head_seq: int
    head_hash: str
    anchors: int
    first_broken: int | None
    faults: Sequence[str]
