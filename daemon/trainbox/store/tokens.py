"""Bearer tokens: 256 random bits each, of which only the sha256 is kept.

A slow password hash would buy nothing here: a random secret of that length cannot be guessed. The
few tokens are held in memory, since every request asks and only this process changes them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import col, select

from trainbox.ids import new_id
from trainbox.store import codec
from trainbox.store.reader import Reader
from trainbox.store.records import TokenRecord
from trainbox.store.tables import TokenRow
from trainbox.store.times import micros, moment, now_micros
from trainbox.store.transaction import Transaction
from trainbox.store.writer import Writer
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import NotFound, TrainboxError

log = logging.getLogger(__name__)

USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class _Known:
    record: TokenRecord
    secret_sha256: str


class TokenStore:
    """Tokens. :meth:`load` is called once, before the first :meth:`verify`."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._known: dict[str, _Known] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Read all tokens into memory."""
        async with self._reader.session() as session:
            rows = (await session.exec(select(TokenRow).order_by(col(TokenRow.seq)))).all()
        self._known = {row.id: _Known(_record(row), row.secret_sha256) for row in rows}

    async def create(
        self, name: str, scopes: Iterable[str], *, who: str, expires_at: datetime | None = None
    ) -> tuple[str, str]:
        """Make a token; return its id and, this once, its text ``tb_<id>_<secret>``.

        Args:
            name: the principal it stands for; several tokens may share one.
            scopes: what it may do.
            who: who makes it, for the audit log.
            expires_at: when it ends by itself; None for never.
        """
        token_id, secret = new_id("tok"), secrets.token_hex(32)
        digest = _digest(secret)
        record = TokenRecord(
            token_id, name, frozenset(scopes), moment(now_micros()), expires_at, None, None
        )
        values: dict[str, Any] = {
            "id": token_id,
            "secret_sha256": digest,
            "name": name,
            "scopes": codec.dump(record.scopes),
            "created_at": micros(record.created_at),
            "expires_at": micros(expires_at),
            "revoked_at": None,
            "last_used_at": None,
        }

        def insert(tx: Transaction) -> None:
            tx.insert(TokenRow, values)
            tx.audit(who, "token.create", token_id, name)

        await self._writer.write(insert)
        self._known[token_id] = _Known(record, digest)
        return token_id, f"tb_{token_id.removeprefix('tok_')}_{secret}"

    async def verify(self, token: str) -> Principal | None:
        """Return who a token stands for; None for an unknown, wrong, revoked or expired one."""
        start, _, rest = token.partition("_")
        number, _, secret = rest.partition("_")
        known = self._known.get(f"tok_{number}")
        # Compared even where the id is unknown, so that both answers take as long.
        wanted = known.secret_sha256 if known else _digest("")
        same = hmac.compare_digest(_digest(secret), wanted)
        if known is None or start != "tb" or not same or not _usable(known.record):
            return None
        self._note_use(known)
        return Principal(known.record.name, known.record.name, known.record.scopes)

    async def revoke(self, token_id: str, *, who: str) -> None:
        """End a token now; a second call changes nothing.

        Raises:
            NotFound: no such token.
        """

        def revoke(tx: Transaction) -> None:
            if tx.one("SELECT 1 FROM tokens WHERE id = ?", (token_id,)) is None:
                raise NotFound(f"there is no token {token_id}", code="token_not_found")
            if tx.changed(
                "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (tx.now, token_id),
            ):
                tx.audit(who, "token.revoke", token_id)

        await self._writer.write(revoke)
        if self._known[token_id].record.revoked_at is None:
            self._change(token_id, revoked_at=moment(now_micros()))

    async def list(self) -> list[TokenRecord]:
        """Return all tokens, also the ended ones, oldest first."""
        return [known.record for known in self._known.values()]

    async def count(self) -> int:
        """Return how many tokens can be used now."""
        return sum(_usable(known.record) for known in self._known.values())

    async def settle(self) -> None:
        """Wait for the notes of use that are on their way to the writer."""
        await asyncio.gather(*self._notes)

    def _note_use(self, known: _Known) -> None:
        now = moment(now_micros())
        last = known.record.last_used_at
        if last is not None and timedelta(0) <= now - last < USE_NOTED_EVERY:
            return
        self._change(known.record.id, last_used_at=now)
        # Not awaited: a request does not wait for the disk only to say that it came.
        note = asyncio.ensure_future(self._write_use(known.record.id, micros(now)))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _write_use(self, token_id: str, at: int) -> None:
        sql = "UPDATE tokens SET last_used_at = ? WHERE id = ?"
        try:
            await self._writer.write(lambda tx: tx.changed(sql, (at, token_id)))
        except TrainboxError as error:
            log.warning("use of a token was not noted: %s", error)

    def _change(self, token_id: str, **changes: Any) -> None:
        known = self._known[token_id]
        self._known[token_id] = replace(known, record=replace(known.record, **changes))


def _usable(record: TokenRecord) -> bool:
    if record.revoked_at is not None:
        return False
    return record.expires_at is None or moment(now_micros()) < record.expires_at


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _record(row: TokenRow) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        scopes=frozenset(codec.load(row.scopes)),
        created_at=moment(row.created_at),
        expires_at=moment(row.expires_at),
        revoked_at=moment(row.revoked_at),
        last_used_at=moment(row.last_used_at),
    )
