"""Checks of the finished table that look at more than one value at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from trainbox.workers import staging
from trainbox.workers.ingest_request import RESULT
from trainbox.workers.refusal import counted, shown
from trainbox.workers.staging import identifier
from trainbox.workers.text_types import TypedColumn

MAX_ROWS = 20_000_000
MAX_CELLS = 1_000_000_000
"""Beyond these, duplicate rows are not looked for."""
SAMPLE_ROWS = 10_000
SAMPLE_CELLS = 4_000_000
"""Of the start of the data, in which columns are compared with each other."""
MAX_CORRELATED = 1000
"""Columns of numbers that are compared with each other."""
SAME = 0.99999
"""Correlation from which one column of numbers says nothing that the other does not."""
MIN_ROWS = 20
"""Rows below which likeness is chance."""
ID_SHARE = 0.99
"""Distinct among present values, from which a column of texts is like an identifier."""
BATCH = 128
"""Columns per query."""

_SOURCE = f"read_parquet('{RESULT}')"

Warned = dict[str, Any]
Codes = Mapping[str, NDArray[np.uint64]]


def check(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, TypedColumn],
    profiled: Sequence[Mapping[str, Any]],
    rows: int,
) -> tuple[int | None, list[Warned]]:
    """Return how many rows repeat an earlier one (None: not counted) and the warnings."""
    warnings = [warned for each in profiled for warned in _of_column(each, rows)]
    duplicates, cells = None, rows * len(columns)
    if rows <= MAX_ROWS and cells <= MAX_CELLS:
        duplicates = _duplicate_rows(connection, list(columns))
        if duplicates:
            what = f"{counted(duplicates, 'row')} of {rows:,} repeat an earlier one"
            hint = "rows on both sides of a split make scores look better than they are"
            warnings.append(_warning("duplicate_rows", what, (), hint))
    else:
        what = "the data is too large to look for duplicate rows"
        warnings.append(_warning("not_checked", what))
    present = [
        each["column"]["name"]
        for each in profiled
        if not each["constant"] and each["column"]["missing"] < rows
    ]
    if rows >= MIN_ROWS and len(present) > 1:
        warnings += _like_columns(connection, columns, present)
    return duplicates, warnings


def _warning(rule: str, message: str, columns: Sequence[str] = (), hint: str = "") -> Warned:
    return {"rule": rule, "message": message, "columns": list(columns), "hint": hint}


def _of_column(profiled: Mapping[str, Any], rows: int) -> list[Warned]:
    column = profiled["column"]
    name, quoted = column["name"], f"column {shown(column['name'])}"
    if profiled["constant"] and rows > 1:
        missing = f", or is missing ({column['missing']:,})" if column["missing"] else ""
        what = f"{quoted} is {shown(column['min'])} in every row{missing}"
        return [_warning("constant", what, (name,), "it tells a model nothing; leave it out")]
    present = rows - column["missing"]
    if present >= MIN_ROWS and _id_like(column, present):
        what = f"{quoted} has a value of its own in (nearly) every row, as an identifier has"
        return [_warning("id_like", what, (name,), "leave it out, or rows are learnt by heart")]
    return []


def _id_like(column: Mapping[str, Any], present: int) -> bool:
    """Return whether a column of texts is (nearly) unique, or one of integers counts up."""
    if column["type"] == "string":
        # The estimate of many distinct values is off by up to some per cent.
        share = ID_SHARE if column["distinct_exact"] else 0.9
        return bool(column["distinct"] >= share * present)
    whole = column["type"] == "number" and isinstance(column["min"], int)
    if not whole or column["missing"] or column["distinct"] < (0.9 * present):
        return False
    if column["distinct_exact"] and column["distinct"] < present:
        return False
    return bool(column["max"] - column["min"] + 1 <= 1.1 * present)


def _duplicate_rows(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> int:
    """Count rows whose 64-bit hash came before: chance adds one in ten thousand at 20 million."""
    listed = ", ".join(map(identifier, names))
    query = f"SELECT count(*) - count(DISTINCT hash({listed})) FROM {_SOURCE}"  # noqa: S608
    return int(staging.scalar(connection, query))


def _like_columns(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, TypedColumn],
    names: Sequence[str],
) -> list[Warned]:
    rows = max(min(SAMPLE_ROWS, SAMPLE_CELLS // len(names)), MIN_ROWS)
    codes = _codes(connection, names, rows)
    same = _same_values(connection, [names for names in _groups(codes) if len(names) > 1])
    warnings = [
        _warning(
            "duplicate_columns",
            f"columns {_listed(group)} are the same in every row",
            group,
            "keep one of them",
        )
        for group in same
    ]
    doubled = {name for group in same for name in group[1:]}
    left = [name for name in names if name not in doubled]
    return warnings + _near_duplicates(connection, columns, left, codes, rows)


def _codes(connection: duckdb.DuckDBPyConnection, names: Sequence[str], rows: int) -> Codes:
    """Return a hash of every value of the first rows; of a gap too."""
    codes: dict[str, NDArray[np.uint64]] = {}
    for batch in staging.batches(names, BATCH):
        wanted = ", ".join(f"hash({identifier(n)}) AS c{i}" for i, n in enumerate(batch))
        found = connection.execute(
            f"SELECT {wanted} FROM (SELECT * FROM {_SOURCE} LIMIT {rows})"  # noqa: S608
        ).fetchnumpy()
        codes |= {name: found[f"c{i}"] for i, name in enumerate(batch)}
    return codes


def _groups(codes: Codes) -> list[list[str]]:
    groups: dict[bytes, list[str]] = defaultdict(list)
    for name, values in codes.items():
        groups[values.tobytes()].append(name)
    return list(groups.values())


def _same_values(
    connection: duckdb.DuckDBPyConnection, groups: Sequence[Sequence[str]]
) -> list[list[str]]:
    """Return those of each group that are the same in all rows, not only in the first."""
    same: list[list[str]] = []
    for first, *others in groups:
        tests = ", ".join(
            f"bool_and({identifier(first)} IS NOT DISTINCT FROM {identifier(other)})"
            for other in others
        )
        found = connection.execute(f"SELECT {tests} FROM {_SOURCE}").fetchone()  # noqa: S608
        assert found is not None
        like = [other for other, equal in zip(others, found, strict=True) if equal]
        if like:
            same.append([first, *like])
    return same


def _near_duplicates(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, TypedColumn],
    names: Sequence[str],
    codes: Codes,
    rows: int,
) -> list[Warned]:
    """Find columns of which each value of one goes with one value of the other, in the sample."""
    numbers = [name for name in names if columns[name].type == "number"][:MAX_CORRELATED]
    renamed = {name: _renumbered(codes[name]) for name in names if name not in numbers}
    groups = [group for group in _groups(renamed) if len(group) > 1]
    # Where every value is another, any two columns go together.
    groups = [group for group in groups if _repeats(renamed[group[0]])]
    groups += _correlated(connection, numbers, rows)
    hint = "keep one of them"
    return [
        _warning(
            "near_duplicate_columns",
            f"columns {_listed(group)} say the same in other words",
            group,
            hint,
        )
        for group in groups
    ]


def _renumbered(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the values as numbers in the order of their first appearance."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.uint64)
    order[np.argsort(first)] = np.arange(len(first), dtype=np.uint64)
    return order[inverse]


def _repeats(codes: NDArray[np.uint64]) -> bool:
    return int(codes.max()) + 1 <= len(codes) // 2


def _correlated(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], rows: int
) -> list[list[str]]:
    if len(names) < 2:  # noqa: PLR2004 - a pair
        return []
    wanted = ", ".join(f"CAST({identifier(n)} AS DOUBLE) AS c{i}" for i, n in enumerate(names))
    found = connection.execute(
        f"SELECT {wanted} FROM {_SOURCE} LIMIT {rows}"  # noqa: S608
    ).fetchnumpy()
    values = np.stack([np.ma.filled(found[f"c{i}"], np.nan) for i in range(len(names))])
    gaps = np.isnan(values)
    with np.errstate(all="ignore"):
        values = np.where(gaps, np.nanmean(values, axis=1, keepdims=True), values)
        likeness = np.abs(np.atleast_2d(np.corrcoef(values)))
    groups: list[list[str]] = []
    taken: set[int] = set()
    for index in range(len(names)):
        alike = np.flatnonzero(likeness[index] >= SAME).tolist()
        group = [i for i in alike if i >= index and i not in taken]
        group = [i for i in group if (gaps[i] == gaps[index]).all()]
        if len(group) > 1:
            taken.update(group)
            groups.append([names[i] for i in group])
    return groups


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(map(shown, names[:10]))
    return listed if len(names) <= 10 else f"{listed} and {len(names) - 10} more"  # noqa: PLR2004
