"""One page of jobs: which index is walked, from where, and what a cursor holds.

A page is found in two steps: the walk gives ``seq`` and sort key of at most a page of rows, along
one index and in its order; then those rows are read. Nothing is sorted and nothing is counted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainbox.store import cursors
from trainbox.store.times import micros
from trainbox_sdk.calls.jobs import JobFilter, JobSort
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.jobs import State

SORT_COLUMNS: Mapping[JobSort, str] = {
    JobSort.CREATED: "seq",
    JobSort.FINISHED: "finished_at",
    JobSort.PRIORITY: "priority",
    JobSort.DURATION: "duration_us",
}
SORTED_WALKS: Mapping[JobSort, str] = {
    JobSort.FINISHED: "jobs_by_{owner}finished",
    JobSort.PRIORITY: "jobs_by_{owner}priority",
    JobSort.DURATION: "jobs_by_{owner}duration",
}
"""The index of each order that is not the order of arrival."""
INT64 = 2**63 - 1


@dataclass(frozen=True)
class Walk:
    """A SELECT of ``seq`` and ``key``, in order, with its parameters."""

    sql: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a page begins: behind this row."""

    key: int
    seq: int


@dataclass
class _Conditions:
    """What a row must be, beside the owner's; parameters are named as they are met."""

    which: JobFilter
    texts: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, /, **parameters: Any) -> None:
        self.texts.append(condition)
        self.parameters |= parameters


def fingerprint(which: JobFilter, owner: str | None) -> str:
    """Return what a cursor must have come from: everything but the page's size and place."""
    asked = {
        "states": sorted(which.states),
        "labels": sorted(which.labels, key=str),
        "owner": owner,
        "created": [micros(which.created_after), micros(which.created_before)],
        "rest": [which.task, which.dataset_id, which.name, which.text, which.backend],
        "order": [which.sort, which.descending],
    }
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def encode(print_: str, place: Place) -> str:
    """Return an opaque cursor of one listing."""
    text = f"jobs:{print_}:{place.key}:{place.seq}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(print_: str, cursor: str | None) -> Place | None:
    """Return the row a page continues behind; None for the first page.

    Raises:
        ValidationFailed: no cursor, or one of a listing with other filters or another order.
    """
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        name, found, key, seq = text.split(":")
        place = Place(int(key), int(seq))
        if name == "jobs" and max(abs(place.key), abs(place.seq)) <= INT64:
            if found == print_:
                return place
            raise _refused("it came with other filters or another order")
    except (binascii.Error, ValueError):
        pass  # whatever it is, it is none of ours
    raise _refused("not a cursor")


def page_walk(which: JobFilter, owner: str | None, place: Place | None, rows: int) -> Walk:
    """Return the walk of one page of at most ``rows`` rows."""
    conditions = _conditions(which, owner, place)
    if which.sort is JobSort.CREATED and len(which.states) > 1 and not which.labels:
        return _by_each_state(which, conditions, rows)
    if which.states:
        conditions.texts.append(f"j.state IN ({_quoted(which.states)})")
    source, key = _source(which, owner), f"j.{SORT_COLUMNS[which.sort]}"
    if place is not None and which.sort is not JobSort.CREATED:
        return _behind_a_tie(source, key, which, conditions, place=place, rows=rows)
    return Walk(
        _select(source, conditions.texts, key, which.descending, rows), conditions.parameters
    )


def size_of_page(which: JobFilter) -> int:
    """Return how many jobs to give.

    Raises:
        ValidationFailed: less than one.
    """
    return cursors.page_size(which.limit)


def _conditions(which: JobFilter, owner: str | None, place: Place | None) -> _Conditions:
    found = _Conditions(which)
    found.add("j.deleted_at IS NULL")
    if owner is not None:
        found.add("j.owner = :owner", owner=owner)
    for name, column, value in (
        ("task", "task", which.task),
        ("dataset", "dataset_id", which.dataset_id),
        ("name", "name", which.name),
        ("backend", "backend", which.backend),
    ):
        if value is not None:
            found.add(f"j.{column} = :{name}", **{name: value})
    _created(which, found)
    if which.text:
        found.add("j.name LIKE :text ESCAPE '!'", text=f"%{_escaped(which.text)}%")
    _labels(which, found)
    if which.sort in {JobSort.FINISHED, JobSort.DURATION}:
        # Also what lets SQLite use the index, which holds those rows alone.
        found.add(f"j.{SORT_COLUMNS[which.sort]} IS NOT NULL")
    if place is not None and which.sort is JobSort.CREATED:
        sign = "<" if which.descending else ">"
        found.add(f"{'l.job_seq' if which.labels else 'j.seq'} {sign} :seq", seq=place.seq)
    return found


def _created(which: JobFilter, found: _Conditions) -> None:
    # The bounds keep a walk in order of arrival from running past what was created then; a clock
    # that jumped is why the times are compared as well.
    if which.created_after is not None:
        found.add(
            "j.created_at >= :since"
            " AND j.seq >= (SELECT MIN(seq) FROM jobs INDEXED BY jobs_by_created"
            " WHERE created_at >= :since)",
            since=micros(which.created_after),
        )
    if which.created_before is not None:
        found.add(
            "j.created_at < :until"
            " AND j.seq <= (SELECT MAX(seq) FROM jobs INDEXED BY jobs_by_created"
            " WHERE created_at < :until)",
            until=micros(which.created_before),
        )


def _labels(which: JobFilter, found: _Conditions) -> None:
    first = which.sort is JobSort.CREATED
    for at, (key, value) in enumerate(sorted(which.labels, key=str)):
        wanted = f'"key" = :key{at}' + ("" if value is None else f" AND value = :value{at}")
        given = {f"key{at}": key} | ({} if value is None else {f"value{at}": value})
        if first and at == 0:
            found.add(" AND ".join(f"l.{part}" for part in wanted.split(" AND ")), **given)
            continue
        exists = f"SELECT 1 FROM job_labels WHERE {wanted} AND job_seq = j.seq"  # noqa: S608
        found.add(f"EXISTS ({exists})", **given)


def _behind_a_tie(
    source: str, key: str, which: JobFilter, conditions: _Conditions, *, place: Place, rows: int
) -> Walk:
    """Walk what has the same key from the row on, then what comes behind that key.

    Two walks, since SQLite would read all of a tie for ``(key, seq) < (?, ?)``, and of priorities
    most jobs have the same.
    """
    sign = "<" if which.descending else ">"
    tie = [*conditions.texts, f"{key} = :key AND j.seq {sign} :seq"]
    rest = [*conditions.texts, f"{key} {sign} :key"]
    parts = [_select(source, texts, key, which.descending, rows) for texts in (tie, rest)]
    direction = "DESC" if which.descending else "ASC"
    union = " UNION ALL ".join(f"SELECT seq, key FROM ({part})" for part in parts)  # noqa: S608
    return Walk(
        f"{union} ORDER BY key {direction}, seq {direction} LIMIT {rows}",
        {**conditions.parameters, "key": place.key, "seq": place.seq},
    )


def _source(which: JobFilter, owner: str | None) -> str:
    if which.sort is not JobSort.CREATED:
        index = SORTED_WALKS[which.sort].format(owner="owner_" if owner is not None else "")
        return f"jobs AS j INDEXED BY {index}"
    if which.labels:
        # CROSS JOIN is SQLite's word for "in this order": a rare label finds its few jobs.
        return "job_labels AS l CROSS JOIN jobs AS j ON j.seq = l.job_seq"
    others = (which.states, which.task, which.dataset_id, which.name, which.backend)
    if which.text and not any(others) and which.created_after is None:
        return "jobs AS j INDEXED BY jobs_names"
    return "jobs AS j"


def _select(source: str, texts: Sequence[str], key: str, descending: bool, rows: int) -> str:
    direction = "DESC" if descending else "ASC"
    seq = "l.job_seq" if source.startswith("job_labels") else "j.seq"
    order = f"{seq} {direction}" if key == "j.seq" else f"{key} {direction}, j.seq {direction}"
    where = " AND ".join(texts)
    return (
        f"SELECT j.seq AS seq, {key} AS key FROM {source} WHERE {where}"  # noqa: S608 - no values
        f" ORDER BY {order} LIMIT {rows}"
    )


def _by_each_state(which: JobFilter, conditions: _Conditions, rows: int) -> Walk:
    """Walk each state's rows for themselves: with ``IN`` a rare state would wait for all others."""
    parts = [
        _select(
            "jobs AS j",
            [*conditions.texts, f"j.state = '{state}'"],
            "j.seq",
            which.descending,
            rows,
        )
        for state in sorted(which.states)
    ]
    union = " UNION ALL ".join(f"SELECT seq, key FROM ({part})" for part in parts)  # noqa: S608
    direction = "DESC" if which.descending else "ASC"
    return Walk(f"{union} ORDER BY seq {direction} LIMIT {rows}", conditions.parameters)


def _quoted(states: frozenset[State]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _refused(why: str) -> ValidationFailed:
    return ValidationFailed(
        f"not a cursor of this listing of jobs: {why}",
        code="bad_cursor",
        errors=[FieldError(("after",), why, "pass what the page before gave as next")],
    )
