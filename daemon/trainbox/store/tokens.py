"""Bearer tokens: 256 random bits each, of which only the sha256 is kept.

A slow password hash would buy nothing here: a random secret of that length cannot be guessed. The
few tokens are held in memory, since every request asks and only this process changes them: a check
costs one sha256 and no read, and a revoked token is gone with the answer that says so.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from trainbox.ids import new_id
from trainbox.store import codec, cursors
from trainbox.store.known_tokens import NOBODY, KnownToken, digest_of, end_of, known_token, new_text
from trainbox.store.reader import Reader
from trainbox.store.tables import TokenRow
from trainbox.store.times import micros, moment, now_micros
from trainbox.store.transaction import Transaction
from trainbox.store.writer import Writer
from trainbox_sdk.calls.tokens import TokenView
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import Conflict, NotFound, TrainboxError

log = logging.getLogger(__name__)

USE_NOTED_EVERY_US = 60_000_000
USE_GATHERED_S = 1.0
"""Uses of this long are written in one transaction."""
LISTING = "tokens"
ADMIN = "admin"
NOTE_USE_SQL = "UPDATE tokens SET last_used_at = ? WHERE id = ?"
NAME_TAKEN_SQL = (
    "SELECT 1 FROM tokens WHERE subject = :subject AND name = :name AND revoked_at IS NULL"
)


class TokenStore:
    """Tokens. :meth:`load` is called once, before the first :meth:`verify`."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._known: dict[str, KnownToken] = {}
        self._used: dict[str, int] = {}
        self._noting: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read all tokens into memory."""
        async with self._reader.session() as session:
            rows = (await session.exec(select(TokenRow).order_by(col(TokenRow.seq)))).all()
        self._known = {row.id: known_token(row) for row in rows}

    async def create(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        who: str,
        subject: str | None = None,
        expires_at: datetime | None = None,
        source: str = "api",
        text: str = "",
    ) -> tuple[TokenView, str]:
        """Make a token; return it and, this once, its text ``tb_<id>_<secret>``.

        Args:
            name: unique among the subject's live tokens.
            scopes: what it may do.
            who: who makes it, for the audit log.
            subject: who it speaks for; the name, where nothing is said.
            expires_at: when it ends by itself; None for never.
            source: ``api``, ``first`` or ``credential``.
            text: its whole text, where it was made elsewhere.

        Raises:
            Conflict: the subject has a live token of that name.
        """
        token_id = new_id("tok")
        text, digest = (text, digest_of(text)) if text else new_text(token_id)
        values: dict[str, Any] = {
            "id": token_id,
            "subject": subject or name,
            "name": name,
            "scopes": codec.dump(sorted(set(scopes))),
            "source": source,
            "secret_sha256": digest,
            "previous_sha256": None,
            "previous_until": None,
            "created_at": now_micros(),
            "expires_at": micros(expires_at),
            "rotated_at": None,
            "revoked_at": None,
            "last_used_at": None,
        }
        note = f"{values['subject']}/{name}: {' '.join(sorted(set(scopes)))}"

        def insert(tx: Transaction) -> int:
            if tx.one(NAME_TAKEN_SQL, values):
                raise Conflict(
                    f"{values['subject']!r} has a live token named {name!r}",
                    code="token_name_taken",
                    hint="revoke or rotate that one, or take another name",
                )
            seq = tx.insert(TokenRow, values)
            tx.audit(who, "token.create", token_id, note)
            return seq

        seq = await self._writer.write(insert)
        made = known_token(TokenRow(seq=seq, **values))
        self._known[token_id] = made
        return made.view, text

    async def verify(self, token: str) -> Principal | None:
        """Return who a token stands for; None for an unknown, wrong, revoked or expired one."""
        start, _, rest = token.partition("_")
        number, _, secret = rest.partition("_")
        known = self._known.get(f"tok_{number}") if start == "tb" else None
        digest = digest_of(secret)
        if known is None or known.view.source == "credential":
            digest = digest_of(token)
            known = next(
                (
                    each
                    for each in self._credentials()
                    if hmac.compare_digest(each.secret_sha256, digest)
                ),
                NOBODY,
            )
        now = now_micros()
        if not known.opens(digest, now):
            return None
        if now - known.used_at >= USE_NOTED_EVERY_US or now < known.used_at:
            self._note_use(known, now)
        return known.principal

    async def rotate(
        self,
        token_id: str,
        *,
        who: str,
        previous_until: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[TokenView, str]:
        """Give a token a new secret; return it and the new text.

        Args:
            token_id: the token.
            who: for the audit log.
            previous_until: until when the secret it had is still good; None ends it now.
            expires_at: new end of the token; None leaves it.

        Raises:
            NotFound: no such token.
            Conflict: it has ended, or its secret comes from the service manager.
        """
        known = self._require(token_id)
        if known.view.source == "credential":
            raise Conflict(
                f"the secret of {token_id} is the service's credential",
                code="token_from_credential",
                hint="change the credential and restart the service",
            )
        text, digest = new_text(token_id)
        values = {
            "id": token_id,
            "digest": digest,
            "until": micros(previous_until),
            "expires": micros(expires_at),
        }

        def rotate(tx: Transaction) -> int:
            if not tx.changed(
                "UPDATE tokens SET previous_sha256 = CASE WHEN :until IS NOT NULL"
                " THEN secret_sha256 END, previous_until = :until, secret_sha256 = :digest,"
                " rotated_at = :now, expires_at = COALESCE(:expires, expires_at)"
                " WHERE id = :id AND revoked_at IS NULL"
                " AND (expires_at IS NULL OR expires_at > :now)",
                {**values, "now": tx.now},
            ):
                raise Conflict(
                    f"{token_id} has ended", code="token_ended", hint="make a new one instead"
                )
            tx.audit(who, "token.rotate", token_id)
            return tx.now

        rotated = await self._writer.write(rotate)
        known = self._require(token_id)
        view = replace(
            known.view,
            rotated_at=moment(rotated),
            previous_until=previous_until,
            expires_at=expires_at or known.view.expires_at,
        )
        previous = known.secret_sha256 if previous_until else ""
        self._keep(known, view, digest, previous)
        return view, text

    async def revoke(self, token_id: str, *, who: str) -> TokenView:
        """End a token now; a second call changes nothing.

        Raises:
            NotFound: no such token.
        """

        def revoke(tx: Transaction) -> int | None:
            if tx.one("SELECT 1 FROM tokens WHERE id = ?", (token_id,)) is None:
                raise _no_token(token_id)
            if not tx.changed(
                "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (tx.now, token_id),
            ):
                return None
            tx.audit(who, "token.revoke", token_id)
            return tx.now

        revoked = await self._writer.write(revoke)
        known = self._require(token_id)
        if revoked is not None:
            self._keep(known, replace(known.view, revoked_at=moment(revoked)))
        return self._known[token_id].view

    async def get(self, token_id: str) -> TokenView | None:
        """Return a token, also an ended one, or None."""
        known = self._known.get(token_id)
        return known.view if known else None

    async def list(self, *, limit: int = 500, after: str | None = None) -> Page[TokenView]:
        """Return a page of tokens, also the ended ones, newest first.

        Raises:
            ValidationFailed: not a cursor of this listing, or no page at all.
        """
        size = cursors.page_size(limit)
        below = cursors.decode(LISTING, after)
        rows = [known for known in reversed(self._known.values()) if known.seq < below]
        return cursors.page(LISTING, rows[: size + 1], size, lambda k: k.seq, lambda k: k.view)

    def usable(self, scope: str) -> Sequence[TokenView]:
        """Return the tokens that can be used now and have a scope."""
        now = now_micros()
        return [k.view for k in self._known.values() if k.usable(now) and scope in k.view.scopes]

    async def adopt_credential(self, text: str, scopes: Iterable[str], *, subject: str) -> None:
        """Have the service manager's secret open a token, and end the ones it gave before.

        Args:
            text: the secret; empty where it gives none.
            scopes: of the token.
            subject: who it speaks for.
        """
        digest = digest_of(text)
        for known in self._credentials():
            if not text or known.secret_sha256 != digest:
                await self.revoke(known.view.id, who="daemon")
        if text and not self._credentials():
            await self.create(
                "credential", scopes, who="daemon", subject=subject, source="credential", text=text
            )

    async def settle(self) -> None:
        """Write the uses that wait to be written."""
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.gather(self._noting, return_exceptions=True)
        await self._write_uses()

    def _credentials(self) -> Sequence[KnownToken]:
        return [
            known
            for known in self._known.values()
            if known.view.source == "credential" and known.view.revoked_at is None
        ]

    def _require(self, token_id: str) -> KnownToken:
        known = self._known.get(token_id)
        if known is None:
            raise _no_token(token_id)
        return known

    def _keep(
        self,
        known: KnownToken,
        view: TokenView,
        secret: str | None = None,
        previous: str | None = None,
    ) -> None:
        self._known[view.id] = replace(
            known,
            view=view,
            secret_sha256=known.secret_sha256 if secret is None else secret,
            previous_sha256=known.previous_sha256 if previous is None else previous,
            previous_until=micros(view.previous_until) or 0,
            ends_at=end_of(micros(view.expires_at)),
        )

    def _note_use(self, known: KnownToken, now: int) -> None:
        view = replace(known.view, last_used_at=moment(now))
        self._known[view.id] = replace(known, view=view, used_at=now)
        self._used[view.id] = now
        # Not awaited: a request does not wait for the disk only to say that it came.
        if self._noting is None or self._noting.done():
            self._noting = asyncio.ensure_future(self._note_soon())

    async def _note_soon(self) -> None:
        await asyncio.sleep(USE_GATHERED_S)
        await self._write_uses()

    async def _write_uses(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return

        def write(tx: Transaction) -> None:
            for token_id, at in used.items():
                tx.execute(NOTE_USE_SQL, (at, token_id))

        try:
            await self._writer.write(write)
        except TrainboxError as error:
            log.warning("uses of %d tokens were not noted: %s", len(used), error)


def _no_token(token_id: str) -> NotFound:
    return NotFound(
        f"there is no token {token_id}",
        code="token_not_found",
        hint="list them with GET /v1/tokens",
    )
