"""Making, changing and ending tokens, and the first one of a daemon."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from trainbox.clock import now
from trainbox.durable import write_durably
from trainbox.engine.access import ADMIN, Access
from trainbox.store import Store
from trainbox_sdk.calls.tokens import (
    SCOPES,
    AuditEntry,
    AuditFilter,
    AuditVerdict,
    IssuedToken,
    TokenView,
)
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import Conflict, FieldError, NotFound, TrainboxError, ValidationFailed

log = logging.getLogger(__name__)

LOCAL = "local"
"""Subject of the first token, and its name."""
DAEMON = "daemon"
MAX_NAME = 128
MAX_AGE_S = 100 * 366 * 24 * 3600.0
MAX_GRACE_S = 30 * 24 * 3600.0
MIN_CREDENTIAL = 32
"""Characters; 32 of ``openssl rand -hex`` are 128 random bits."""
_CREDENTIAL = re.compile(r"[!-~]+")


class TokenRoom:
    """What the facade does with tokens and the audit log; every call asks for ``admin``.

    Args:
        store: open.
        access: who may.
        file: where the local token lies; a rotation of that token writes its new secret there.
    """

    def __init__(self, store: Store, access: Access, file: Path | None = None) -> None:
        self._store = store
        self._access = access
        self._file = file
        self._ending = asyncio.Lock()
        """Held from the look for another admin on: two at once cannot end each other."""

    async def create(
        self,
        who: Principal,
        *,
        name: str,
        scopes: Sequence[str],
        subject: str | None,
        expires_in_s: float | None,
    ) -> IssuedToken:
        """Check and make a token (see :class:`~trainbox_sdk.calls.tokens.TokenCalls`)."""
        self._access.require(who, ADMIN)
        wrong = [
            *_name_faults("name", name),
            *(_name_faults("subject", subject) if subject is not None else ()),
            *_scope_faults(scopes),
            *_time_faults("expires_in_s", expires_in_s, least=1.0, most=MAX_AGE_S),
        ]
        _refuse(wrong)
        view, text = await self._store.tokens.create(
            name, scopes, who=who.actor, subject=subject, expires_at=_in(expires_in_s)
        )
        return IssuedToken(view, text)

    async def list(self, who: Principal, *, limit: int, after: str | None) -> Page[TokenView]:
        """Return a page of tokens."""
        self._access.require(who, ADMIN)
        return await self._store.tokens.list(limit=limit, after=after)

    async def get(self, who: Principal, token_id: str) -> TokenView:
        """Return one token."""
        self._access.require(who, ADMIN)
        return await self._found(token_id)

    async def own(self, who: Principal) -> TokenView:
        """Return the token the caller came with."""
        if not who.token_id:
            raise NotFound("you came without a token", code="token_not_found")
        return await self._found(who.token_id)

    async def rotate(
        self, who: Principal, token_id: str, *, grace_s: float, expires_in_s: float | None
    ) -> IssuedToken:
        """Give a token a new secret."""
        self._access.require(who, ADMIN)
        wrong = [
            *_time_faults("grace_s", grace_s, least=0.0, most=MAX_GRACE_S),
            *_time_faults("expires_in_s", expires_in_s, least=1.0, most=MAX_AGE_S),
        ]
        _refuse(wrong)
        async with self._ending:
            if expires_in_s is not None:
                self._keep_an_admin(token_id)
            local = await self._is_in_file(token_id)
            view, text = await self._store.tokens.rotate(
                token_id,
                who=who.actor,
                previous_until=_in(grace_s) if grace_s > 0 else None,
                expires_at=_in(expires_in_s),
            )
            if local and self._file is not None:
                # The command line on this host would be locked out by a file of yesterday.
                await asyncio.to_thread(write_durably, self._file, text + "\n")
        return IssuedToken(view, text)

    async def revoke(self, who: Principal, token_id: str) -> TokenView:
        """End a token, unless nobody could make another one then."""
        self._access.require(who, ADMIN)
        await self._found(token_id)
        async with self._ending:
            self._keep_an_admin(token_id)
            return await self._store.tokens.revoke(token_id, who=who.actor)

    async def audit(self, who: Principal, which: AuditFilter) -> Page[AuditEntry]:
        """Return a page of acts."""
        self._access.require(who, ADMIN)
        return await self._store.audit.list(which)

    async def verify_audit(self, who: Principal) -> AuditVerdict:
        """Read the whole audit log and judge it."""
        self._access.require(who, ADMIN)
        return await self._store.audit.verify()

    async def _is_in_file(self, token_id: str) -> bool:
        """Whether the file holds this token's present secret."""
        if self._file is None:
            return False
        try:
            text = await asyncio.to_thread(self._file.read_text)
        except (OSError, UnicodeDecodeError):
            return False
        holder = await self._store.tokens.verify(text.strip())
        return holder is not None and holder.token_id == token_id

    def _keep_an_admin(self, token_id: str) -> None:
        """Refuse to end, now or later, the only token that could make another one."""
        if [view.id for view in self._store.tokens.usable(ADMIN)] == [token_id]:
            raise Conflict(
                f"{token_id} is the last token with the scope 'admin'",
                code="last_admin_token",
                hint="make another one with that scope first",
            )

    async def _found(self, token_id: str) -> TokenView:
        view = await self._store.tokens.get(token_id)
        if view is None:
            raise NotFound(
                f"there is no token {token_id[:80]!r}",
                code="token_not_found",
                hint="list them with GET /v1/tokens",
            )
        return view


async def first_token(store: Store, file: Path, credential: Path | None) -> None:
    """See to it that someone can come in: by the service's credential, or by a file.

    A credential is adopted as it is, and ends the one before it. Without one, and without a usable
    ``admin`` token or the file, a token is made and written to the file with mode 0600.

    Args:
        store: open.
        file: where the first token goes.
        credential: what the service manager hands in, such as ``$CREDENTIALS_DIRECTORY/token``.

    Raises:
        TrainboxError: the credential cannot be a secret.
    """
    text = read_credential(credential) if credential is not None else ""
    await store.tokens.adopt_credential(text, SCOPES, subject=LOCAL)
    there = _close_to_others(file)
    if store.tokens.usable(ADMIN) and (text or there):
        return
    secret = await _create_local(store)
    write_durably(file, secret + "\n")


async def keep_anchoring(store: Store, every_s: float) -> None:
    """Note the audit log's head again and again, until cancelled."""
    while True:
        await anchor_audit(store)
        await asyncio.sleep(every_s)


async def anchor_audit(store: Store) -> None:
    """Note the audit log's head in its file and in the daemon's own log, where it is new.

    The log is elsewhere, and often on another machine: with it, rows cut from the end are seen even
    where whoever cut them could change the file too.
    """
    try:
        head = await store.audit.anchor()
    except (OSError, TrainboxError) as error:
        log.warning("the head of the audit log was not noted: %s", error)
        return
    if head is not None:
        log.info("audit head", extra={"audit_seq": head.seq, "audit_hash": head.hash})


def read_credential(file: Path) -> str:
    """Return the secret in a file; empty where there is no such file.

    Raises:
        TrainboxError: too short to be a secret, or not printable ASCII; the text is not shown.
    """
    try:
        text = file.read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""
    if len(text) < MIN_CREDENTIAL or not _CREDENTIAL.fullmatch(text):
        raise TrainboxError(
            f"the credential {file.name!r} is no secret: it must be at least {MIN_CREDENTIAL}"
            " printable ASCII characters without blanks",
            code="bad_credential",
            hint="make one with 'openssl rand -hex 32'",
        )
    return text


async def _create_local(store: Store) -> str:
    """Make the first token, or one beside those of that name whose text is lost."""
    for number in itertools.count(1):
        name = LOCAL if number == 1 else f"{LOCAL} {number}"
        with contextlib.suppress(Conflict):
            _, text = await store.tokens.create(
                name, SCOPES, who=DAEMON, subject=LOCAL, source="first"
            )
            return text
    raise AssertionError("numbers end")


def _close_to_others(file: Path) -> bool:
    """See to it that only its owner may read the file; return whether there is one."""
    try:
        mode = file.stat().st_mode & 0o777
    except FileNotFoundError:
        return False
    if mode & 0o077:
        log.warning("%s could be read by others (mode %o); now only its owner may", file, mode)
        file.chmod(0o600)
    return True


def _in(seconds: float | None) -> datetime | None:
    return None if seconds is None else now() + timedelta(seconds=seconds)


def _refuse(wrong: Sequence[FieldError]) -> None:
    if wrong:
        text = "; ".join(f"{each.loc[0]} {each.msg}" for each in wrong)
        raise ValidationFailed(text, errors=wrong)


def _name_faults(field: str, text: str) -> Sequence[FieldError]:
    if 0 < len(text) <= MAX_NAME and text.isprintable() and text == text.strip():
        return ()
    return [FieldError((field,), f"must be 1 to {MAX_NAME} printable characters, no blank around")]


def _scope_faults(scopes: Sequence[str]) -> Sequence[FieldError]:
    hint = f"use some of {', '.join(SCOPES)}"
    if not scopes:
        return [FieldError(("scopes",), "must name at least one", hint)]
    return [
        FieldError(("scopes", place), f"{scope[:40]!r} is no scope", hint)
        for place, scope in enumerate(scopes)
        if scope not in SCOPES
    ]


def _time_faults(
    field: str, seconds: float | None, *, least: float, most: float
) -> Sequence[FieldError]:
    if seconds is None or least <= seconds <= most:
        return ()
    return [FieldError((field,), f"must be {least:g} to {most:g} seconds")]
