"""The audit log: who did what, appended in the transaction of the act, chained by hashes.

The chain shows an edit, a hole and a change of order. Rows cut from the end, or a whole log written
anew, show only against heads noted elsewhere: :meth:`AuditStore.anchor` notes them in a file, and
its caller in the daemon's log.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import ColumnElement
from sqlmodel import col, select

from trainbox.store import cursors
from trainbox.store.audit_chain import Anchor, ChainJudge, entry_of, read_anchors
from trainbox.store.reader import Reader
from trainbox.store.tables import AuditRow
from trainbox.store.times import micros, moment, now_micros
from trainbox.store.writer import Writer
from trainbox_sdk.calls.tokens import AuditEntry, AuditFilter, AuditVerdict
from trainbox_sdk.engine import Page

BATCH = 1000
LISTING = "audit"


class AuditStore:
    """Acts of people and tokens. Most rows are written by the act itself.

    Args:
        anchors: file of noted heads, one JSON object per line, only ever appended to.
    """

    def __init__(self, writer: Writer, reader: Reader, anchors: Path) -> None:
        self._writer = writer
        self._reader = reader
        self._anchors = anchors
        self._anchored = -1

    async def append(self, who: str, act: str, object_id: str, note: str = "") -> None:
        """Store an act that changes nothing else in the store."""
        await self._writer.write(lambda tx: tx.audit(who, act, object_id, note))

    async def after(self, seq: int, *, limit: int = 500) -> list[AuditEntry]:
        """Return up to ``limit`` rows with a higher ``seq``, in order."""
        statement = (
            select(AuditRow).where(col(AuditRow.seq) > seq).order_by(col(AuditRow.seq)).limit(limit)
        )
        async with self._reader.session() as session:
            return [entry_of(row) for row in (await session.exec(statement)).all()]

    async def list(self, which: AuditFilter) -> Page[AuditEntry]:
        """Return a page of acts, newest first.

        Raises:
            ValidationFailed: not a cursor of this listing, or no page at all.
        """
        size = cursors.page_size(which.limit)
        below = cursors.decode(LISTING, which.after)
        statement = (
            select(AuditRow)
            .where(col(AuditRow.seq) < below, *_conditions(which))
            .order_by(col(AuditRow.seq).desc())
            .limit(size + 1)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return cursors.page(LISTING, rows, size, lambda row: row.seq, entry_of)

    async def first_broken(self) -> int | None:
        """Return the ``seq`` of the first row that was edited, or that follows a removed one."""
        return (await self.verify()).first_broken

    async def verify(self) -> AuditVerdict:
        """Read every row and every anchor; say what does not fit."""
        judge = ChainJudge(*await asyncio.to_thread(read_anchors, self._anchors))
        while batch := await self.after(judge.head.seq, limit=BATCH):
            for entry in batch:
                judge.see(entry)
        return judge.verdict()

    async def anchor(self) -> Anchor | None:
        """Note the newest row in the file; None where it is noted already, or there is none."""
        statement = select(AuditRow).order_by(col(AuditRow.seq).desc()).limit(1)
        async with self._reader.session() as session:
            row = (await session.exec(statement)).first()
        if row is None or row.seq is None or row.seq == self._anchored:
            return None
        found = Anchor(row.seq, row.hash)
        await asyncio.to_thread(_write_anchor, self._anchors, found)
        self._anchored = found.seq
        return found


def _write_anchor(file: Path, anchor: Anchor) -> None:
    noted = {"at": moment(now_micros()).isoformat(), "seq": anchor.seq, "hash": anchor.hash}
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "a") as out:
        # A line of its own, also behind one that a crash cut short.
        out.write(("" if file.stat().st_size == 0 else "\n") + json.dumps(noted))
        out.flush()
        os.fsync(out.fileno())


def _conditions(which: AuditFilter) -> Sequence[ColumnElement[bool]]:
    conditions = [
        col(column) == value
        for column, value in (
            (AuditRow.who, which.who),
            (AuditRow.object, which.object),
            (AuditRow.request, which.request_id),
        )
        if value is not None
    ]
    act, at = col(AuditRow.act), col(AuditRow.at)
    if which.act is not None:
        begins, whole = act.startswith(which.act, autoescape=True), act == which.act
        conditions.append(begins if which.act.endswith(".") else whole)
    if which.since is not None:
        conditions.append(at >= micros(which.since))
    if which.until is not None:
        conditions.append(at < micros(which.until))
    return conditions
