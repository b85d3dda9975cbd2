"""What a run's events say: curves of metrics, thinned evenly, and the stages it went through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from trainbox_plugins.custom_training.answers import PointOut, StageOut
from trainbox_plugins.custom_training.names import stamp
from trainbox_sdk.jobs import JobEvent

T = TypeVar("T")

MOST_EPOCHS = 10**9
CLOSE = 1e-6
"""A fraction has some 16 digits; a step's part of all steps is not this close by chance."""
_ENDS = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


@dataclass
class Curves:
    """Metrics by name, in the order they came.

    Attributes:
        total: epochs there will be, where the script's own progress tells.
    """

    points: dict[str, list[PointOut]] = field(default_factory=dict)
    total: int | None = None
    _epoch: float | None = None
    _whole: set[int] = field(default_factory=set)

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
        elif event.kind == "progress":
            self.total = _total(self._epoch, _number(data.get("fraction"))) or self.total

    @property
    def epochs(self) -> int | None:
        """Epochs that were reported, whether the script counts them from 0 or from 1."""
        if not self._whole:
            return None
        return max(len(self._whole), *self._whole)

    def _reach(self, epoch: float | None) -> None:
        if epoch is not None and 0 <= epoch <= MOST_EPOCHS:
            self._epoch = epoch
            if float(epoch).is_integer():
                self._whole.add(int(epoch))


def declared_epochs(params: Mapping[str, Any]) -> int | None:
    """Return how many epochs a script is told to run, by the variable that says so in most."""
    variables = params.get("environment_vars")
    text = variables.get("EPOCHS", "") if isinstance(variables, Mapping) else ""
    fine = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 9  # noqa: PLR2004
    return int(text) if fine else None


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


def _total(epoch: float | None, fraction: float | None) -> int | None:
    """Return the total of which an epoch is that fraction, where that is a whole number."""
    if not epoch or not fraction:
        return None
    total = epoch / fraction
    near = round(total)
    return near if 0 < near <= MOST_EPOCHS and abs(total - near) < CLOSE * near else None
