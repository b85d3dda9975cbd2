"""What a run's events say: curves of metrics, thinned evenly, and the stages it went through."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeVar

from trainbox_plugins.custom_training.answers import PointOut, StageOut
from trainbox_plugins.custom_training.names import stamp
from trainbox_sdk.jobs import JobEvent

T = TypeVar("T")

MOST_EPOCHS = 10**9
_ENDS = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


@dataclass
class Curves:
    """Metrics by name, in the order they came.

    Attributes:
        places: which number of its metric each point is, from 0; long curves come thinned.
        stated: epochs there will be, as the script says it.
    """

    points: dict[str, list[PointOut]] = field(default_factory=dict)
    places: dict[str, list[int]] = field(default_factory=dict)
    stated: int | None = None
    _highest: int | None = None
    _from_zero: bool = False

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
            name = str(data.get("name"))
            self.points.setdefault(name, []).append(point)
            places = self.places.setdefault(name, [])
            nth = data.get("nth")
            places.append(nth if isinstance(nth, int) else places[-1] + 1 if places else 0)
            self._reach(_whole(data.get("epoch")))
        if event.kind in {"metric", "progress"}:
            self.stated = _whole(data.get("total_epochs")) or self.stated

    @property
    def epochs(self) -> int | None:
        """Epochs that were reported, whether the script counts them from 0 or from 1.

        One that reports an epoch 0 and also the last of those it states has counted from 1, and
        measured once before it began. Not the points are counted: a long curve comes thinned.
        """
        if self._highest is None:
            return None
        if self._from_zero and self._highest != self.stated:
            return self._highest + 1
        return self._highest

    def total(self, declared: int | None) -> int | None:
        """Return how many epochs there will be: at least as many as there have been.

        Args:
            declared: what the script was told, which counts where it says nothing itself.
        """
        total = self.stated or declared
        return None if total is None else max(total, self.epochs or 0)

    def _reach(self, epoch: int | None) -> None:
        if epoch is not None:
            self._highest = max(epoch, self._highest or 0)
            self._from_zero = self._from_zero or epoch == 0


def declared_epochs(params: Mapping[str, Any]) -> int | None:
    """Return how many epochs a script is told to run, by the variable that says so in most."""
    variables = params.get("environment_vars")
    text = variables.get("EPOCHS", "") if isinstance(variables, Mapping) else ""
    fine = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 9  # noqa: PLR2004
    return int(text) if fine else None


def thinned(points: Sequence[T], resolution: int, places: Sequence[int] = ()) -> list[T]:
    """Return at most so many points, evenly spread over the run; the first and the last stay.

    Args:
        points: in order.
        resolution: 2 or more.
        places: which number of its curve each point is, where not all of them are here; a curve
            that is sparser towards its end is taken as sparse from the beginning.
    """
    if len(places) != len(points) or any(b <= a for a, b in pairwise(places)):
        places = range(len(points))  # a retry, or processes that count on their own
    if len(points) <= 2:  # noqa: PLR2004 - the first and the last
        return list(points)
    end = places[-1] - places[0]
    widest = max(b - a for a, b in pairwise(places))
    count = min(resolution, -(-end // widest) + 1)
    wanted = (places[0] + (at * end + (count - 1) // 2) // (count - 1) for at in range(count))
    return [points[at] for at in dict.fromkeys(_nearest(places, place) for place in wanted)]


def _nearest(places: Sequence[int], place: int) -> int:
    at = bisect_left(places, place)
    if at > 0 and (at == len(places) or place - places[at - 1] < places[at] - place):
        return at - 1
    return at


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


def _whole(value: Any) -> int | None:
    """Return a count as such; None for anything else, such as the middle of an epoch."""
    number = _number(value)
    if number is None or not 0 <= number <= MOST_EPOCHS or number != int(number):
        return None
    return int(number)
