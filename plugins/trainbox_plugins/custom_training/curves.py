"""What a run's events say: curves of metrics, thinned evenly, and the stages it went through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from trainbox_plugins.custom_training.answers import PointOut, StageOut
from trainbox_plugins.custom_training.names import stamp
from trainbox_sdk.jobs import JobEvent

T = TypeVar("T")

_ENDS = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


@dataclass
class Curves:
    """Metrics by name, in the order they came.

    Attributes:
        epochs: epochs that have been reported.
        total: epochs there will be, where the script says so.
    """

    points: dict[str, list[PointOut]] = field(default_factory=dict)
    epochs: int | None = None
    total: int | None = None

    def take(self, event: JobEvent) -> None:
        """Add what an event says."""
        data = event.data
        if event.kind == "metric":
            point: PointOut = {
                "step": _number(data.get("step")),
                "epoch": _number(data.get("epoch")),
                "value": _number(data.get("value")),
                "timestamp": stamp(event.at) or "",
            }
            self.points.setdefault(str(data.get("name")), []).append(point)
            self._reach(point["epoch"])
        if event.kind in {"metric", "progress"}:
            self.total = _count(data.get("total_epochs")) or self.total
            self._reach(_number(data.get("epochs_completed")))

    def _reach(self, epoch: float | None) -> None:
        count = _count(epoch)
        if count is not None:
            self.epochs = max(self.epochs or 0, count)


def thinned(points: Sequence[T], resolution: int) -> list[T]:
    """Return at most so many points, evenly spread; the first and the last stay.

    Args:
        points: in order.
        resolution: 2 or more.
    """
    count = len(points)
    if count <= resolution:
        return list(points)
    last = resolution - 1
    return [points[(at * (count - 1) + last // 2) // last] for at in range(resolution)]


def stages(events: Iterable[JobEvent]) -> list[StageOut]:
    """Return the states a run went through and how long it was in each."""
    moves = [(str(e.data.get("state")), e.at) for e in events if e.kind == "state"]
    found: list[StageOut] = []
    for at, (state, since) in enumerate(moves):
        if state in _ENDS:
            continue
        until = moves[at + 1][1] if at + 1 < len(moves) else None
        found.append(_stage(state, since, until))
    return found


def _stage(state: str, since: datetime, until: datetime | None) -> StageOut:
    return {
        "stage": state,
        "started_at": stamp(since) or "",
        "completed_at": stamp(until),
        "duration_seconds": None if until is None else (until - since).total_seconds(),
    }


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= 2**53 else None
