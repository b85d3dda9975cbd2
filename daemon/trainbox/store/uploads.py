"""Resumable uploads: what is on the disk for sure, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from sqlmodel import col, select

from trainbox.store import codec
from trainbox.store.reader import Reader
from trainbox.store.tables import UploadRow
from trainbox.store.times import micros, moment
from trainbox.store.transaction import Transaction
from trainbox.store.writer import Writer
from trainbox_sdk.errors import DataFault, FieldError
from trainbox_sdk.uploads import NewDataset, UploadFailure, UploadState, UploadView

RECEIVED_SQL = """
UPDATE uploads SET received = :received, expires_at = :expires_at,
       state = CASE WHEN :received = bytes THEN 'ingesting' ELSE state END
 WHERE id = :id AND state = 'receiving' AND received <= :received
"""
FAILED_SQL = "UPDATE uploads SET state = 'failed', failure = ? WHERE id = ? AND state = 'ingesting'"


class UploadStore:
    """Rows of uploads; the bytes lie in a folder of their own until they are a dataset."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(self, view: UploadView) -> None:
        """Store a new upload."""

        def insert(tx: Transaction) -> None:
            tx.insert(UploadRow, _values(view))
            tx.audit(view.owner, "upload.create", view.id, f"{view.bytes} bytes")

        await self._writer.write(insert)

    async def get(self, upload_id: str) -> UploadView | None:
        """Return one upload."""
        found = await self._rows(col(UploadRow.id) == upload_id)
        return found[0] if found else None

    async def in_state(self, state: str) -> Sequence[UploadView]:
        """Return every upload in a state, oldest first."""
        return await self._rows(col(UploadRow.state) == state)

    async def ids(self) -> set[str]:
        """Return the ids of all uploads."""
        async with self._reader.session() as session:
            return set((await session.exec(select(UploadRow.id))).all())

    async def overdue(self, at: datetime) -> Sequence[UploadView]:
        """Return uploads whose time is over and that are not being read."""
        return await self._rows(
            col(UploadRow.expires_at) <= micros(at), col(UploadRow.state) != "ingesting"
        )

    async def received(self, upload_id: str, received: int, expires_at: datetime) -> bool:
        """Note that bytes are on the disk; the last of them makes it ``ingesting``."""
        values = {"id": upload_id, "received": received, "expires_at": micros(expires_at)}
        return await self._writer.write(lambda tx: tx.changed(RECEIVED_SQL, values))

    async def failed(self, upload_id: str, failure: UploadFailure) -> None:
        """Note why an upload makes no dataset."""
        text = codec.encodable(codec.dump(asdict(failure)))
        await self._writer.write(lambda tx: tx.changed(FAILED_SQL, (text, upload_id)))

    async def remove(self, upload_id: str, *, who: str) -> bool:
        """Forget an upload; False where there is none, or it is being read."""

        def remove(tx: Transaction) -> bool:
            sql = "DELETE FROM uploads WHERE id = ? AND state <> 'ingesting'"
            if not tx.changed(sql, (upload_id,)):
                return False
            tx.audit(who, "upload.remove", upload_id)
            return True

        return await self._writer.write(remove)

    async def _rows(self, *conditions: Any) -> Sequence[UploadView]:
        statement = select(UploadRow).where(*conditions).order_by(col(UploadRow.seq))
        async with self._reader.session() as session:
            return [_view(row) for row in (await session.exec(statement)).all()]


def _values(view: UploadView) -> dict[str, Any]:
    spec = view.spec
    options = {
        "description": spec.description,
        "labels": spec.labels,
        "types": spec.types,
        "idempotency_key": spec.idempotency_key,
    }
    return {
        **vars(view),
        "name": spec.name,
        "format": spec.format,
        "filename": spec.filename,
        "options": codec.dump(options),
        "failure": None,
        "created_at": micros(view.created_at),
        "expires_at": micros(view.expires_at),
    }


def _view(row: UploadRow) -> UploadView:
    options = codec.load(row.options)
    return UploadView(
        id=row.id,
        owner=row.owner,
        spec=NewDataset(name=row.name, format=row.format, filename=row.filename, **options),
        bytes=row.bytes,
        received=row.received,
        state=cast(UploadState, row.state),
        metadata_header=row.metadata_header,
        dataset_id=row.dataset_id,
        replayed=bool(row.replayed),
        failure=None if row.failure is None else _failure(codec.load(row.failure)),
        created_at=moment(row.created_at),
        expires_at=moment(row.expires_at),
    )


def _failure(raw: dict[str, Any]) -> UploadFailure:
    errors = tuple(FieldError(tuple(e["loc"]), e["msg"], e["hint"]) for e in raw["errors"])
    faults = tuple(DataFault(**fault) for fault in raw["faults"])
    return UploadFailure(raw["code"], raw["message"], raw["hint"], errors, faults)
