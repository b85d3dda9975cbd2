"""Documents of surfaces: compare-and-set, several at once, alone or with a job."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, TextClause, text
from sqlmodel import col, select

from trainbox.store import acts as lines
from trainbox.store import codec, cursors
from trainbox.store.reader import Reader
from trainbox.store.tables import DocumentRow
from trainbox.store.times import moment
from trainbox.store.transaction import Transaction, insert_sql
from trainbox.store.views import Record
from trainbox.store.writer import Writer
from trainbox_sdk.documents import (
    Act,
    Document,
    DocumentFilter,
    DocumentKey,
    DocumentWrite,
    body_text,
)
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import Conflict, ValidationFailed

LISTING = "documents"
THIS = "space = :space AND kind = :kind AND id = :id"
FIND_SQL = f"SELECT * FROM documents WHERE {THIS}"  # noqa: S608 - a constant
DELETE_SQL = f"DELETE FROM documents WHERE {THIS}"  # noqa: S608
UPDATE_SQL = f"""
UPDATE documents
   SET owner = :owner, grp = :grp, name = :name, body = :body, revision = revision + 1,
       updated_at = :updated_at
 WHERE {THIS}
"""  # noqa: S608
INSERT_SQL = insert_sql(DocumentRow)


@dataclass(frozen=True)
class EncodedWrite:
    """A write with its body as text: the writer only compares and binds."""

    write: DocumentWrite
    body: str | None


def encode(writes: Sequence[DocumentWrite]) -> Sequence[EncodedWrite]:
    """Encode bodies.

    Raises:
        ValidationFailed: one that is not JSON, or too large; a name or id that UTF-8 cannot hold.
    """
    for write in writes:
        if not _storable(*vars(write.key).values(), write.owner, write.group, write.name):
            raise ValidationFailed(
                "a document's id, owner, group or name is not text that UTF-8 can hold",
                code="document_not_text",
            )
    return [
        EncodedWrite(write, None if write.body is None else body_text(write.body))
        for write in writes
    ]


def apply(tx: Transaction, encoded: Sequence[EncodedWrite]) -> Sequence[Document]:
    """Make the writes in order; return what they leave.

    Raises:
        Conflict: a revision is not the expected one, or a name is taken; the caller's transaction
            is then rolled back.
    """
    keys = [_apply_one(tx, each) for each in encoded]
    found = [tx.one(FIND_SQL, vars(key)) for key in keys]
    return [_view(row) for row in found if row is not None]


class DocumentStore:
    """Documents; who may see which, their surface decides."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def get(self, key: DocumentKey) -> Document | None:
        """Return a document, or None."""
        if not _storable(*vars(key).values()):
            return None
        statement = select(DocumentRow).where(
            col(DocumentRow.space) == key.space,
            col(DocumentRow.kind) == key.kind,
            col(DocumentRow.id) == key.id,
        )
        async with self._reader.session() as session:
            row = (await session.exec(statement)).first()
        return None if row is None else _view(row.model_dump())

    async def list(self, which: DocumentFilter) -> Page[Document]:
        """Return a page of documents by their time of creation.

        Raises:
            ValidationFailed: not a cursor of this listing, or no page at all.
        """
        size = cursors.page_size(which.limit)
        seq = col(DocumentRow.seq)
        below = cursors.decode(LISTING, which.after)
        if not _storable(which.owner or "", which.group or "", which.name or ""):
            return Page((), None)
        place = seq < below if which.descending else seq > (below if which.after else 0)
        statement = (
            select(DocumentRow)
            .where(place, *_conditions(which))
            .order_by(seq.desc() if which.descending else seq)
            .limit(size + 1)
        )
        async with self._reader.session() as session:
            rows = (await session.exec(statement)).all()
        return cursors.page(
            LISTING, rows, size, lambda row: row.seq, lambda row: _view(row.model_dump())
        )

    async def write(
        self, writes: Sequence[DocumentWrite], acts: Sequence[Act], *, who: str
    ) -> Sequence[Document]:
        """Make writes and audit lines in one transaction; return what the writes leave.

        Raises:
            As :func:`encode` and :func:`apply`.
        """
        encoded = encode(writes)

        def write(tx: Transaction) -> Sequence[Document]:
            written = apply(tx, encoded)
            lines.write(tx, who, acts)
            return written

        return await self._writer.write(write)


def _storable(*words: str) -> bool:
    """Whether SQLite takes the words: a caller's JSON may hold half a surrogate pair."""
    return all(codec.encodable(word) == word for word in words)


def _apply_one(tx: Transaction, encoded: EncodedWrite) -> DocumentKey:
    write, key = encoded.write, encoded.write.key
    known = tx.one(FIND_SQL, vars(key))
    revision = known["revision"] if known is not None else 0
    if write.expect is not None and write.expect != revision:
        raise Conflict(
            f"{key.kind} {key.id!r} has revision {revision}, not {write.expect}",
            code="document_changed",
            hint="read it again and decide anew",
        )
    if encoded.body is None:
        tx.execute(DELETE_SQL, vars(key))
        return key
    values: dict[str, Any] = {
        **vars(key),
        "owner": write.owner,
        "grp": write.group,
        "name": write.name,
        "revision": 1,
        "body": encoded.body,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    try:
        tx.execute(INSERT_SQL if known is None else UPDATE_SQL, values)
    except sqlite3.IntegrityError as error:
        # The key was looked up in this transaction, so only the name can be there already.
        if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise
        raise Conflict(
            f"there is a {key.kind} called {write.name!r} already", code="document_name_taken"
        ) from error
    return key


def _conditions(which: DocumentFilter) -> Sequence[ColumnElement[bool] | TextClause]:
    wanted = (
        (DocumentRow.space, which.space),
        (DocumentRow.kind, which.kind),
        (DocumentRow.owner, which.owner),
        (DocumentRow.grp, which.group),
        (DocumentRow.name, which.name),
    )
    return [
        *(col(column) == value for column, value in wanted if value is not None),
        # Said again and literally, so that SQLite finds the partial indexes.
        *([text("grp <> ''")] if which.group else []),
        *([text("name <> ''")] if which.name else []),
    ]


def _view(row: Record) -> Document:
    return Document(
        key=DocumentKey(row["space"], row["kind"], row["id"]),
        owner=row["owner"],
        group=row["grp"],
        name=row["name"],
        revision=row["revision"],
        body=codec.load(row["body"]),
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
    )
