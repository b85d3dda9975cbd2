"""The audit log: who did what, appended in the transaction of the act, chained by hashes.

The chain shows an edit, a hole and a change of order. Rows cut from the end, or a whole log written
anew, show only against heads noted elsewhere: :meth:`AuditStore.anchor` notes them in a file, and
its caller in the daemon's log.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement
from sqlmodel import col, select

from trainbox.store import cursors
from trainbox.store.reader import Reader
from trainbox.store.tables import AuditRow
from trainbox.store.times import micros, moment, now_micros
from trainbox.store.transaction import audit_hash
from trainbox.store.writer import Writer
from trainbox_sdk.calls.tokens import AuditEntry, AuditFilter, AuditVerdict
from trainbox_sdk.engine import Page

BATCH = 1000
LISTING = "audit"


@dataclass(frozen=True)
class Anchor:
    """A head of the chain as it was at some time."""

    seq: int
    hash: str


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
            return [_entry(row) for row in (await session.exec(statement)).all()]

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
        return cursors.page(LISTING, rows, size, lambda row: row.seq, _entry)

    async def first_broken(self) -> int | None:
        """Return the ``seq`` of the first row that was edited, or that follows a removed one."""
        return (await self.verify()).first_broken

    async def verify(self) -> AuditVerdict:
        """Read every row and every anchor; say what does not fit."""
        anchors, faults = await asyncio.to_thread(read_anchors, self._anchors)
        noted, compared = {anchor.seq: anchor for anchor in anchors}, len(anchors)
        head, broken, rows = Anchor(0, ""), None, 0
        while batch := await self.after(head.seq, limit=BATCH):
            for entry in batch:
                wrong = _fault(entry, head, noted.pop(entry.seq, None))
                if wrong and broken is None:
                    broken = entry.seq
                    faults.append(wrong)
                head = Anchor(entry.seq, entry.hash)
            rows += len(batch)
        if noted:
            broken = broken or min(noted)
            faults.append(
                f"row {max(noted)} was anchored and is gone; the log ends at row {head.seq}"
            )
        return AuditVerdict(not faults, rows, head.seq, head.hash, compared, broken, tuple(faults))

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


def read_anchors(file: Path) -> tuple[list[Anchor], list[str]]:
    """Return the noted heads, and what is wrong with the file; an absent one has none."""
    anchors, faults = list[Anchor](), list[str]()
    try:
        lines = file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return [], []
    for number, line in enumerate(lines, 1):
        try:
            noted = json.loads(line)
            anchors.append(Anchor(int(noted["seq"]), str(noted["hash"])))
        except (ValueError, KeyError, TypeError):
            if number < len(lines):  # the last line may be half written by a crash
                faults.append(f"{file}:{number} is not an anchor")
    return anchors, faults


def _write_anchor(file: Path, anchor: Anchor) -> None:
    noted = {"at": moment(now_micros()).isoformat(), "seq": anchor.seq, "hash": anchor.hash}
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "a") as out:
        # A line of its own, also behind one that a crash cut short.
        out.write(("" if file.stat().st_size == 0 else "\n") + json.dumps(noted))
        out.flush()
        os.fsync(out.fileno())


def _fault(entry: AuditEntry, before: Anchor, noted: Anchor | None) -> str:
    """Return what is wrong with a row; empty where nothing is."""
    if entry.seq != before.seq + 1:
        return f"rows {before.seq + 1} to {entry.seq - 1} are missing"
    if entry.prev != before.hash:
        return f"row {entry.seq} does not follow row {before.seq} as it now is"
    if entry.hash != audit_hash(_hashed(entry)):
        return f"row {entry.seq} was changed after it was written"
    if noted is not None and noted.hash != entry.hash:
        return f"row {entry.seq} is not the row that was anchored"
    return ""


def _hashed(entry: AuditEntry) -> Mapping[str, object]:
    origin = {"token": entry.token_id, "request": entry.request_id}
    return {**vars(entry), **origin, "at": micros(entry.at)}


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


def _entry(row: AuditRow) -> AuditEntry:
    assert row.seq is not None
    return AuditEntry(
        seq=row.seq,
        at=moment(row.at),
        who=row.who,
        act=row.act,
        object=row.object,
        note=row.note,
        token_id=row.token,
        request_id=row.request,
        peer=row.peer,
        prev=row.prev,
        hash=row.hash,
    )
