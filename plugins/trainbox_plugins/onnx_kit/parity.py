"""Does the graph answer what the model answers? The check every artifact must pass.

Converters fail silently: the file loads, runs, and predicts something else. So the graph runs on
real and on hostile rows (see :mod:`probes`), at several batch sizes, against a reference that does
its own pre-processing; one row outside the tolerances fails the check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainbox_plugins.onnx_kit.columns import Column, Table, feed, take
from trainbox_plugins.onnx_kit.pipeline import CLASSES, PREDICTION, PROBABILITIES
from trainbox_plugins.onnx_kit.probes import Probes, build_probes
from trainbox_plugins.onnx_kit.session import RUN_ERRORS, open_session

Outputs = Mapping[str, NDArray[Any]]
Reference = Callable[[Table], Outputs]
"""The model itself: ``prediction`` [N] or [N, D], for classes also ``probabilities`` [N, C] and
``classes`` [C]. It must not use the graph under test."""

_SINGLES = 16
_SEVENS = 5
_SHOWN = 5


@dataclass(frozen=True)
class Tolerance:
    """How far apart two answers may be.

    Attributes:
        probability: absolute, for probabilities.
        spread: for numbers, relative to the target's standard deviation ...
        relative: ... plus this share of the reference's magnitude.
        tie: labels may differ where the two best probabilities are closer than this.
    """

    probability: float = 1e-5
    spread: float = 1e-5
    relative: float = 1e-6
    tie: float = 1e-5


@dataclass(frozen=True)
class Failure:
    """One row on which graph and model disagree.

    Attributes:
        output: the output's name, or ``batch_1``, ``batch_7``... where only the batch size did it.
        kind: why the row was tried (see :mod:`probes`).
    """

    output: str
    kind: str
    expected: Any
    got: Any
    error: float | None
    row: Mapping[str, Any]


@dataclass(frozen=True)
class ParityReport:
    """What the check saw.

    Attributes:
        rows: rows compared at full batch.
        probes: how many of each kind.
        batches: batch sizes tried.
        worst: largest absolute error per output, over all rows.
        worst_ratio: largest error divided by its tolerance; at most 1 where ``passed``.
        label_mismatches: rows whose label differs without a near tie.
        near_ties: rows whose label differs because two classes are as good as equal.
        failing_rows: number of rows outside the tolerances.
        failures: the first few of them.
    """

    passed: bool
    rows: int
    probes: Mapping[str, int]
    batches: tuple[int, ...]
    worst: Mapping[str, float]
    worst_ratio: float
    label_mismatches: int
    near_ties: int
    failing_rows: int
    failures: tuple[Failure, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able data; an infinite error becomes the word ``inf``."""
        return {key: _jsonable(value) for key, value in asdict(self).items()}


def check_parity(
    model: bytes,
    columns: Sequence[Column],
    rows: Table,
    reference: Reference,
    *,
    borders: Mapping[str, Sequence[float]] | None = None,
    spread: float = 1.0,
    tolerance: Tolerance | None = None,
    sample: int = 1000,
    seed: int = 0,
    threads: int = 1,
) -> ParityReport:
    """Compare the graph with the model on real, recombined and hostile rows.

    Args:
        model: serialised ONNX with the inputs of ``columns``.
        columns: its raw inputs.
        rows: real rows, at least one; those the model never saw are best.
        reference: the model itself.
        borders: thresholds per number column, to be visited exactly.
        spread: standard deviation of the target, for regression.
        tolerance: how far apart answers may be.
        sample: recombined rows to make, and the most real ones to take.
        seed: of the choice of rows.
        threads: onnxruntime's threads.

    Raises:
        ValueError: no rows.
        onnxruntime exceptions: the graph does not load, or does not run on all rows at once.
    """
    tolerance = tolerance or Tolerance()
    probes = build_probes(columns, rows, borders=borders or {}, sample=sample, seed=seed)
    session = _Session(model, columns, threads)
    expected = reference(probes.table)
    comparison = _Comparison(expected, tolerance, spread)
    got = session.run(probes.table)
    findings = list(comparison.compare(got))
    label_mismatches, near_ties = comparison.label_mismatches, comparison.near_ties
    failures = [_failure(probes, finding) for finding in findings[:_SHOWN]]
    batch_failures = list(_batch_failures(session, probes, comparison))
    failing = {finding.row for finding in findings}
    return ParityReport(
        passed=not findings and not batch_failures,
        rows=len(probes.kinds),
        probes=probes.counts,
        batches=(0, 1, 7, len(probes.kinds)),
        worst=comparison.worst,
        worst_ratio=comparison.worst_ratio,
        label_mismatches=label_mismatches,
        near_ties=near_ties,
        failing_rows=len(failing) + len(batch_failures),
        failures=(*failures, *batch_failures[:_SHOWN]),
    )


class _Session:
    """An onnxruntime session over raw tables."""

    def __init__(self, model: bytes, columns: Sequence[Column], threads: int) -> None:
        self._session = open_session(model, threads=threads)
        self._columns = columns
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, table: Table) -> dict[str, NDArray[Any]]:
        answers = self._session.run(self._names, feed(self._columns, table))
        return dict(zip(self._names, answers, strict=True))


@dataclass(frozen=True)
class _Finding:
    output: str
    row: int
    expected: Any
    got: Any
    error: float | None


class _Comparison:
    """Compares answers with the reference's, row by row, and remembers the worst."""

    def __init__(self, expected: Outputs, tolerance: Tolerance, spread: float) -> None:
        self._expected = expected
        self._tolerance = tolerance
        self._spread = spread
        self.worst: dict[str, float] = {}
        self.worst_ratio = 0.0
        self.near_ties = 0
        self.label_mismatches = 0

    def compare(self, got: Outputs, rows: NDArray[np.int64] | None = None) -> Iterator[_Finding]:
        """Yield the rows (of ``rows``, default all) on which ``got`` is outside the tolerances."""
        everything = np.arange(len(self._expected[PREDICTION]))
        rows = everything if rows is None else rows
        if PROBABILITIES not in self._expected:
            yield from self._numbers(PREDICTION, got, rows)
            return
        yield from self._numbers(PROBABILITIES, got, rows)
        yield from self._labels(got, rows)
        if CLASSES in self._expected:
            yield from self._classes(got)

    def _numbers(self, name: str, got: Outputs, rows: NDArray[np.int64]) -> Iterator[_Finding]:
        want = self._expected[name]
        want = want.reshape(len(want), -1)[rows].astype(np.float64)
        if name not in got or got[name].shape != want.shape:
            shape = got[name].shape if name in got else None
            yield _Finding(name, 0, list(want.shape), shape, None)
            return
        have = got[name].astype(np.float64)
        error = np.where(have == want, 0.0, np.abs(have - want))  # equal infinities are equal
        ratio = error / self._allowed(name, want)
        ratio[np.isnan(ratio)] = np.inf
        error[np.isnan(error)] = np.inf
        self.worst[name] = max(self.worst.get(name, 0.0), float(np.max(error, initial=0.0)))
        self.worst_ratio = max(self.worst_ratio, float(np.max(ratio, initial=0.0)))
        for index in np.flatnonzero((ratio > 1).any(axis=1)):
            worst = float(error[index].max())
            yield _Finding(
                name, int(rows[index]), want[index].tolist(), have[index].tolist(), worst
            )

    def _allowed(self, name: str, want: NDArray[np.float64]) -> NDArray[np.float64]:
        if name == PROBABILITIES:
            return np.full(want.shape, self._tolerance.probability)
        return self._tolerance.spread * self._spread + self._tolerance.relative * np.abs(want)

    def _labels(self, got: Outputs, rows: NDArray[np.int64]) -> Iterator[_Finding]:
        want = self._expected[PREDICTION].ravel()[rows]
        have = got[PREDICTION]
        if have.shape != (len(rows), 1):
            yield _Finding(PREDICTION, 0, [len(rows), 1], list(have.shape), None)
            return
        best = np.sort(self._expected[PROBABILITIES][rows], axis=1)
        tie = best[:, -1] - best[:, -2] < self._tolerance.tie
        differs = have.ravel() != want
        self.near_ties += int((differs & tie).sum())
        self.label_mismatches += int((differs & ~tie).sum())
        for index in np.flatnonzero(differs & ~tie):
            yield _Finding(
                PREDICTION, int(rows[index]), _plain(want[index]), _plain(have[index, 0]), None
            )

    def _classes(self, got: Outputs) -> Iterator[_Finding]:
        want, have = self._expected[CLASSES].tolist(), got[CLASSES].tolist()
        if want != have:
            yield _Finding(CLASSES, 0, want, have, None)


def _batch_failures(
    session: _Session, probes: Probes, comparison: _Comparison
) -> Iterator[Failure]:
    """Try batch sizes 0, 1 and 7: some operators mind, and some exporters fix the batch at 1."""
    count = len(probes.kinds)
    spaced = np.linspace(0, count - 1, _SINGLES).astype(np.int64)
    batches = [np.zeros(0, np.int64), *spaced[:, None]]
    starts = np.linspace(0, max(count - 7, 0), _SEVENS).astype(np.int64)
    batches += [np.arange(start, min(start + 7, count)) for start in starts]
    for rows in batches:
        name = f"batch_{len(rows)}"
        try:
            got = session.run(take(probes.table, rows))
        except RUN_ERRORS as error:
            yield Failure(name, "does not run", None, str(error)[:500], None, {})
            continue
        for finding in comparison.compare(got, rows):
            yield replace(_failure(probes, finding), output=name)


def _failure(probes: Probes, finding: _Finding) -> Failure:
    row = {name: _plain(values[finding.row]) for name, values in probes.table.items()}
    kind = probes.kinds[finding.row]
    return Failure(finding.output, kind, finding.expected, finding.got, finding.error, row)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return a numpy scalar as JSON-able Python."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not np.isfinite(plain):
        return str(plain)
    return plain[:80] if isinstance(plain, str) else plain
