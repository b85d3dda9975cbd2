"""How long the work after the search takes, and telling of it while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainbox_guest.emit import Emitter

PROGRESS_EVERY_S = 1.0
_EXPORT_FITS = 0.2
_EXPORT_LEAST_S = 1.0
"""Writing and checking the graph grows with the trees, as a fit does, and has a fixed part."""


@dataclass(frozen=True)
class Rest:
    """Estimated seconds of what follows the search.

    Attributes:
        holdout_s: the fit that is scored on the holdout.
        final_s: the fit on all rows.
        export_s: writing and checking the file.
    """

    holdout_s: float
    final_s: float
    export_s: float

    @property
    def total_s(self) -> float:
        """Return the sum."""
        return self.holdout_s + self.final_s + self.export_s


def estimate_rest(trial_s: float, *, rows_per_trial: int, dev_rows: int, rows: int) -> Rest:
    """Estimate from a trial: a fit takes time in proportion to its rows.

    Args:
        trial_s: what the trial took for the trees that are kept of it, 0 if not known.
        rows_per_trial: rows trained on in one trial, all folds together.
        dev_rows: rows outside the holdout.
        rows: all rows.
    """
    row_s = trial_s / max(rows_per_trial, 1)
    final_s = row_s * rows
    return Rest(row_s * dev_rows, final_s, _EXPORT_LEAST_S + _EXPORT_FITS * final_s)


class FitProgress:
    """Tells of a fit's trees, as :data:`~trainbox_plugins.tabular.guest.fit.OnTree`.

    Args:
        emit: where to tell.
        message: what is being done.
        span: the job's progress when the fit begins and when it ends.
        trees: how many there will be.
        expected_s: the fit's seconds, by estimate.
        after_s: seconds of what follows the fit, by estimate.
    """

    def __init__(
        self,
        emit: Emitter,
        message: str,
        span: tuple[float, float],
        *,
        trees: int,
        expected_s: float,
        after_s: float,
    ) -> None:
        self._emit = emit
        self._message = message
        self._from, self._to = span
        self._trees = max(trees, 1)
        self._after_s = after_s
        self._began = self._last = time.monotonic()
        self._most = 0
        emit.progress(self._from, message=message, eta_s=expected_s + after_s)

    def __call__(self, tree: int) -> None:
        """Note a tree, and tell of it about once a second."""
        now = time.monotonic()
        # A fit that is begun again with other arguments counts from one: never go back.
        self._most = min(max(self._most, tree), self._trees)
        if now - self._last < PROGRESS_EVERY_S or self._most == 0:
            return
        self._last = now
        done = self._most / self._trees
        left_s = (now - self._began) / done * (1 - done)
        self._emit.progress(
            self._from + (self._to - self._from) * done,
            message=f"{self._message}, tree {self._most} of {self._trees}",
            eta_s=left_s + self._after_s,
        )
