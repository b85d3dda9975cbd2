"""The audit log: who did what, appended in the transaction of the act, chained by hashes."""

from __future__ import annotations

from sqlmodel import col, select

from trainbox.store.reader import Reader
from trainbox.store.records import AuditRecord
from trainbox.store.tables import AuditRow
from trainbox.store.times import micros, moment
from trainbox.store.transaction import audit_hash
from trainbox.store.writer import Writer

BATCH = 1000


class AuditStore:
    """Acts of people and tokens. Most rows are written by the act itself."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def append(self, who: str, act: str, object_id: str, note: str = "") -> None:
        """Store an act that changes nothing else in the store."""
        await self._writer.write(lambda tx: tx.audit(who, act, object_id, note))

    async def after(self, seq: int, *, limit: int = 500) -> list[AuditRecord]:
        """Return up to ``limit`` rows with a higher ``seq``, in order."""
        statement = (
            select(AuditRow).where(col(AuditRow.seq) > seq).order_by(col(AuditRow.seq)).limit(limit)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return [_record(row) for row in rows]

    async def first_broken(self) -> int | None:
        """Return the ``seq`` of the first row that was edited, or that follows a removed one.

        Rows cut from the end leave no trace here: compare the newest hash with one noted elsewhere.
        """
        seq, prev = 0, ""
        while rows := await self.after(seq, limit=BATCH):
            for row in rows:
                values = {**vars(row), "at": micros(row.at)}
                if row.prev != prev or row.hash != audit_hash(values):
                    return row.seq
                seq, prev = row.seq, row.hash
        return None


def _record(row: AuditRow) -> AuditRecord:
    assert row.seq is not None
    return AuditRecord(
        row.seq, moment(row.at), row.who, row.act, row.object, row.note, row.prev, row.hash
    )
