"""Which columns know the target: a copy of it, a code for it, or gaps where it has one value.

Looks at the first rows only. A column "determines" the target if rows with the same value of it
agree on the target, which is asked of pairs of different rows: an identifier does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from trainbox.workers.refusal import Refused, shown
from trainbox.workers.staging import identifier, literal

ROWS = 100_000
"""Rows with a target that are looked at."""
MIN_ROWS = 20
MAX_CLASSES = 50
"""Different targets up to which numbers are classes too."""
CERTAIN = 0.995
"""Share of the target that a column must explain to be suspicious."""
LIFT = 0.5
"""Of the errors of always guessing the commonest class, what a column must save."""
COVERED = 0.3
"""Of the rows, how many must share their value of a column with another row."""
LISTED_CLASSES = 50

Codes = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class _Target:
    """What is to be predicted, in the rows looked at.

    Attributes:
        codes: its values, numbered.
        reals: its values, for a target of numbers with many of them; else None.
        baseline: share of the commonest class.
    """

    codes: Codes
    reals: Reals | None
    baseline: float


def look(connection: duckdb.DuckDBPyConnection, path: str, target: str) -> dict[str, Any]:
    """Return the fields of the SDK's ``TargetProfile``, JSON-able.

    Raises:
        Refused: there is no such column.
    """
    source = f"read_parquet({literal(path)})"
    types = {
        name: sql_type
        for name, sql_type, *_ in connection.execute(
            f"DESCRIBE SELECT * FROM {source}"  # noqa: S608
        ).fetchall()
    }
    if target not in types:
        listed = ", ".join(map(shown, list(types)[:10]))
        raise Refused(
            f"the dataset has no column {shown(target)}",
            code="unknown_column",
            hint=f"its columns are {listed}{' …' if len(types) > 10 else ''}",  # noqa: PLR2004
        )
    rows = f"(SELECT * FROM {source} WHERE {identifier(target)} IS NOT NULL LIMIT {ROWS})"  # noqa: S608
    codes = _codes(connection, rows, target)
    found: dict[str, Any] = {"target": target, "rows_checked": len(codes)}
    if warning := _useless(target, codes):
        return found | {"warnings": [warning]}
    known = _target(connection, rows, target, types[target], codes)
    classes = _classes(connection, rows, target) if known.reals is None else []
    leaks = list(_leaks(connection, rows, types, target, known)) if len(codes) >= MIN_ROWS else []
    leaks.sort(key=lambda leak: -leak["score"])
    return found | {"classes": classes, "leaks": leaks, "warnings": []}


def _useless(target: str, codes: Codes) -> dict[str, Any] | None:
    quoted = f"column {shown(target)}"
    if not len(codes):
        rule, what = "all_missing", f"{quoted} has no values"
    elif codes.max() == 0:
        rule, what = "constant", f"{quoted} is the same in every row looked at"
    else:
        return None
    hint = "there is nothing to learn; choose another target"
    return {"rule": rule, "message": what, "columns": [target], "hint": hint}


def _target(
    connection: duckdb.DuckDBPyConnection, rows: str, name: str, sql_type: str, codes: Codes
) -> _Target:
    counts = np.bincount(codes)
    reals = None
    if _is_number(sql_type) and len(counts) > MAX_CLASSES:
        reals, _ = _reals(connection, rows, name)
    return _Target(codes, reals, float(counts.max() / len(codes)))


def _classes(connection: duckdb.DuckDBPyConnection, rows: str, target: str) -> list[dict[str, Any]]:
    found = connection.execute(
        f"SELECT CAST({identifier(target)} AS VARCHAR) AS v, count(*) AS n FROM {rows}"  # noqa: S608
        f" GROUP BY v ORDER BY n DESC, v LIMIT {LISTED_CLASSES}"
    ).fetchall()
    return [{"value": value[:200], "count": count} for value, count in found]


def _leaks(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    types: Mapping[str, str],
    target: str,
    known: _Target,
) -> Iterator[dict[str, Any]]:
    for name in types:
        if name == target:
            continue
        codes = _codes(connection, rows, name)
        number = _is_number(types[name])
        found = _copy(connection, rows, name, target)
        if found is None and number and known.reals is not None:
            found = _line(connection, rows, name, known.reals)
        if found is None:
            gaps = _gaps(connection, rows, name)
            found = _missing(gaps, known)
        if found is None:
            score = _explained(codes, known)
            if number and score < CERTAIN:
                score = _neighbours(*_reals(connection, rows, name), known)
            found = _determines(score)
        if found is not None:
            rule, score, what = found
            message = f"column {shown(name)} {what}; would it be known when predicting?"
            yield {"column": name, "rule": rule, "score": score, "message": message}


Found = tuple[str, float, str]


def _copy(connection: duckdb.DuckDBPyConnection, rows: str, name: str, target: str) -> Found | None:
    query = (
        f"SELECT avg(CASE WHEN CAST({identifier(name)} AS VARCHAR)"  # noqa: S608
        f" IS NOT DISTINCT FROM CAST({identifier(target)} AS VARCHAR) THEN 1 ELSE 0 END)"
        f" FROM {rows}"
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    same = float(row[0])
    if same < CERTAIN:
        return None
    return "copy_of_target", same, f"equals the target in {same:.1%} of the rows"


def _line(
    connection: duckdb.DuckDBPyConnection, rows: str, name: str, target: Reals
) -> Found | None:
    values, present = _reals(connection, rows, name)
    if present.sum() < max(MIN_ROWS, COVERED * len(target)):
        return None
    with np.errstate(all="ignore"):
        likeness = float(np.corrcoef(values[present], target[present])[0, 1]) ** 2
    if not likeness >= CERTAIN:
        return None
    return (
        "copy_of_target",
        min(likeness, 1.0),
        f"is a straight line of the target (R² {likeness:.4f})",
    )


def _missing(gaps: Codes, known: _Target) -> Found | None:
    score = _explained(gaps, known) if gaps.any() and not gaps.all() else 0.0
    if score < CERTAIN:
        return None
    return "missing_tells_target", score, "is missing just where the target has certain values"


def _determines(score: float) -> Found | None:
    if score < CERTAIN:
        return None
    return "determines_target", score, f"alone explains {score:.1%} of the target"


def _neighbours(values: Reals, present: NDArray[np.bool_], known: _Target) -> float:
    """Return the share of the target that the next row in the order of a column's values has too.

    For numbers that is one minus half of von Neumann's ratio (https://doi.org/10.1214/aoms/1177731677).
    """
    if present.sum() < max(MIN_ROWS, COVERED * len(values)):
        return 0.0
    order = np.argsort(values[present], kind="stable")
    if known.reals is None:
        classes = known.codes[present][order]
        return _lifted(float((classes[1:] == classes[:-1]).mean()), known)
    with np.errstate(all="ignore"):
        targets = known.reals[present][order]
        share = 1 - float(np.mean(np.diff(targets) ** 2)) / (2 * float(np.var(targets)))
    return float(np.clip(share, 0.0, 1.0)) if np.isfinite(share) else 0.0


def _lifted(right: float, known: _Target) -> float:
    """Return a share of right guesses, or 0 if always guessing one class is nearly as good."""
    return right if (right - known.baseline) / (1 - known.baseline) >= LIFT else 0.0


def _explained(codes: Codes, known: _Target) -> float:
    """Return the share of the target that groups of equal ``codes`` explain, 0 if little."""
    sizes = np.bincount(codes)
    shared = sizes[codes] > 1
    if shared.sum() < COVERED * len(codes):
        return 0.0
    if known.reals is not None:
        return _explained_variance(codes[shared], known.reals[shared])
    return _lifted(_others_agree(codes[shared], known.codes[shared]), known)


def _others_agree(codes: Codes, classes: Codes) -> float:
    """Return how often the commonest class of the *other* rows of a group is the row's own."""
    width = int(classes.max()) + 1
    _, pairs, counts = np.unique(codes * width + classes, return_inverse=True, return_counts=True)
    own = counts[pairs]
    most = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    np.maximum.at(most, codes, own)
    # Without the row itself its class must still be the commonest.
    sole = np.bincount(codes) == most
    right = (own == most[codes]) & ((own > 1) | sole[codes])
    return float(right.mean())


def _explained_variance(codes: Codes, values: Reals) -> float:
    """Return the adjusted share of the variance that lies between the groups."""
    _, groups = np.unique(codes, return_inverse=True)
    sizes = np.bincount(groups)
    freedom = len(values) - len(sizes)
    if freedom <= 0:
        return 0.0
    with np.errstate(all="ignore"):
        means = np.bincount(groups, weights=values) / sizes
        within = float(np.sum((values - means[groups]) ** 2)) / freedom
        total = float(np.var(values, ddof=1))
        share = 1 - within / total
    return float(np.clip(share, 0.0, 1.0)) if np.isfinite(share) else 0.0


def _codes(connection: duckdb.DuckDBPyConnection, rows: str, name: str) -> Codes:
    """Return the values of a column, numbered; a gap is a value too."""
    found = connection.execute(
        f"SELECT hash({identifier(name)}) AS h FROM {rows}"  # noqa: S608
    ).fetchnumpy()["h"]
    if not len(found):
        return np.zeros(0, dtype=np.int64)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _gaps(connection: duckdb.DuckDBPyConnection, rows: str, name: str) -> Codes:
    found = connection.execute(
        f"SELECT CAST({identifier(name)} IS NULL AS BIGINT) AS g FROM {rows}"  # noqa: S608
    ).fetchnumpy()["g"]
    return np.asarray(found, dtype=np.int64)


def _reals(
    connection: duckdb.DuckDBPyConnection, rows: str, name: str
) -> tuple[Reals, NDArray[np.bool_]]:
    """Return a column of numbers, and where it has a value."""
    found = connection.execute(
        f"SELECT CAST({identifier(name)} AS DOUBLE) AS v FROM {rows}"  # noqa: S608
    ).fetchnumpy()["v"]
    values = np.ma.filled(found, np.nan).astype(np.float64)
    return values, ~np.isnan(values)


def _is_number(sql_type: str) -> bool:
    return sql_type.startswith("DECIMAL") or sql_type.endswith(
        ("INT", "INTEGER", "FLOAT", "DOUBLE")
    )
