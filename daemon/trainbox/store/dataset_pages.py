"""Pages of datasets in any order: the cursor holds the value and the row a page ended with."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from sqlalchemy import ColumnElement, tuple_
from sqlmodel import col, select

from trainbox.store import cursors
from trainbox.store.reader import Reader
from trainbox.store.tables import DatasetRow
from trainbox.store.views import dataset_view
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.engine import Page
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.uploads import DatasetFilter

SORTS = {
    "created": col(DatasetRow.seq),
    "name": col(DatasetRow.name),
    "rows": col(DatasetRow.rows),
    "bytes": col(DatasetRow.bytes),
}


async def dataset_page(
    reader: Reader, which: DatasetFilter, owner: str | None
) -> Page[DatasetView]:
    """Return one page; ``owner`` None for everyone's.

    Raises:
        ValidationFailed: an unknown order, a cursor of another listing, or a page of no items.
    """
    size = cursors.page_size(which.limit)
    falling, key = which.sort.startswith("-"), _sort_key(which.sort)
    seq = col(DatasetRow.seq)
    conditions = _conditions(which, owner)
    if which.after is not None:
        last = tuple_(*_decode(which))
        place = tuple_(key, seq)
        conditions.append(place < last if falling else place > last)
    order = (key.desc(), seq.desc()) if falling else (key.asc(), seq.asc())
    statement = select(DatasetRow).where(*conditions).order_by(*order).limit(size + 1)
    async with reader.session() as session:
        rows = (await session.exec(statement)).all()
    more = len(rows) > size
    return Page(
        tuple(dataset_view(row) for row in rows[:size]),
        _encode(which, rows[size - 1]) if more else None,
    )


def _sort_key(sort: str) -> Any:
    key = SORTS.get(sort.removeprefix("-"))
    if key is None:
        raise ValidationFailed(
            f"datasets cannot be sorted by {sort!r}",
            errors=[FieldError(("sort",), "unknown order", f"one of {', '.join(SORTS)}")],
        )
    return key


def _conditions(which: DatasetFilter, owner: str | None) -> list[ColumnElement[bool]]:
    trashed = col(DatasetRow.trashed_at)
    conditions: list[ColumnElement[bool]] = [
        trashed.is_not(None) if which.trashed else trashed.is_(None),
        col(DatasetRow.purged_at).is_(None),
    ]
    if owner is not None:
        conditions.append(col(DatasetRow.owner) == owner)
    if which.name is not None:
        conditions.append(col(DatasetRow.name) == which.name)
    if which.format is not None:
        conditions.append(col(DatasetRow.source_format) == which.format)
    return conditions


def _encode(which: DatasetFilter, row: DatasetRow) -> str:
    if which.sort == "-created":
        assert row.seq is not None
        return cursors.encode("datasets", row.seq)
    name = which.sort.removeprefix("-")
    value = row.seq if name == "created" else getattr(row, name)
    text = json.dumps(["datasets", which.sort, value, row.seq], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(which: DatasetFilter) -> tuple[Any, int]:
    given = which.after or ""
    if which.sort == "-created":
        seq = cursors.decode("datasets", given)
        return seq, seq
    wanted = str if which.sort.removeprefix("-") == "name" else int
    try:
        text = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
        listing, sort, value, seq = json.loads(text)
        numbers = [each for each in (value, seq) if not isinstance(each, str)]
        fits = (listing, sort) == ("datasets", which.sort) and type(value) is wanted
        if fits and all(type(n) is int and abs(n) <= cursors.BEFORE_ALL for n in numbers):
            return value, int(seq)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise ValidationFailed(
        "not a cursor of this listing of datasets in this order",
        code="bad_cursor",
        errors=[FieldError(("after",), "not a cursor", "pass what the page before gave as next")],
    )
