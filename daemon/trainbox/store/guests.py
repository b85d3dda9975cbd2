"""What a guest reported: its events and how far its file was read, committed together.

The offset is compared before it is set, so a batch that is sent again, or by a supervisor that does
not know of the last one, is never stored twice. What is in the events is hostile data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trainbox.store import codec
from trainbox.store.records import GuestEvent, StepRecord
from trainbox.store.tables import LIVE
from trainbox.store.times import micros
from trainbox.store.transaction import Transaction

MOST_METRICS = 256
"""Names that a job's summary keeps; a guest that invents more is not remembered for them."""
LONGEST_NAME = 200

OFFSET_SQL = (
    "SELECT a.events_offset FROM attempts AS a JOIN steps AS s ON s.attempt_id = a.id"  # noqa: S608
    f" WHERE a.id = ? AND s.id = ? AND a.{LIVE}"
)


class StaleOffset(ValueError):
    """The caller's record of the step is older than the events it already stored; a bug."""


def append(
    tx: Transaction, step: StepRecord, events: Sequence[GuestEvent], new_offset: int
) -> bool:
    """Store events read between ``step.events_offset`` and ``new_offset``.

    Returns:
        True once they are stored, also when they had been before; False where the attempt has ended
        or is no longer the step's.

    Raises:
        StaleOffset: ``step.events_offset`` is not where the stored events end.
    """
    row = tx.one(OFFSET_SQL, (step.attempt_id, step.id))
    if row is None:
        return False
    stored = row["events_offset"]
    if stored >= new_offset:
        return True
    if stored != step.events_offset:
        raise StaleOffset(
            f"{step.attempt_id} has events up to byte {stored}, the caller continues at"
            f" {step.events_offset}"
        )
    tx.execute("UPDATE attempts SET events_offset = ? WHERE id = ?", (new_offset, step.attempt_id))
    for event in events:
        tx.event(step.job_id, event.kind, event.data, at=micros(event.at))
    _summarise(tx, step, events)
    return True


def _summarise(tx: Transaction, step: StepRecord, events: Sequence[GuestEvent]) -> None:
    progress = [event.data for event in events if event.kind == "progress"]
    if progress:
        last = progress[-1]
        tx.execute(
            "UPDATE jobs SET progress = MAX(progress, ("
            " SELECT (SUM(state = 'succeeded') + :fraction) / COUNT(*)"
            "   FROM steps WHERE job_id = :job_id)), eta_s = :eta_s WHERE id = :job_id",
            {
                "job_id": step.job_id,
                "fraction": min(max(_number(last.get("fraction")) or 0.0, 0.0), 1.0),
                "eta_s": _number(last.get("eta_s")),
            },
        )
    metrics = [event.data for event in events if event.kind == "metric"]
    if metrics:
        row = tx.one("SELECT metrics FROM jobs WHERE id = ?", (step.job_id,))
        assert row is not None
        known = codec.load(row["metrics"])
        for data in metrics:
            _remember(known, data.get("name"), _number(data.get("value")))
        tx.execute("UPDATE jobs SET metrics = ? WHERE id = ?", (codec.dump(known), step.job_id))


def _remember(known: dict[str, float], name: Any, value: float | None) -> None:
    if not isinstance(name, str) or len(name) > LONGEST_NAME or value is None:
        return
    if name in known or len(known) < MOST_METRICS:
        known[name] = value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
