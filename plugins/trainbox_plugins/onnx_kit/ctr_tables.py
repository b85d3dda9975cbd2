"""Target statistics (CTRs) of categorical features as one lookup table.

CatBoost replaces a category, or a combination of categories and yes-or-no facts about the row, by
a number made from counts of the training target (arXiv:1706.09516, section 3). To find the counts
it hashes the combination to 64 bits:

    h = 0;  for v in values:  h = M * (h + M * v)  (mod 2**64)

which is *linear* in the values: with K values, ``h = sum_k M**(K - k + 2) * v_k`` for k = 1..K. So
all combinations of a row are hashed by one uint64 matrix product, where arithmetic modulo 2**64 is
well defined, and no training data is needed to fill the table: the model's own hashes are the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainbox_plugins.onnx_kit.catboost_json import (
    CatBoostModel,
    Ctr,
    CtrTable,
    FloatSplit,
    ModelFormatError,
    OneHotSplit,
    Projection,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MULTIPLIER = 0x4906BA494954CB65
UNSEEN = 0x5DEECE66D1234567
"""Stands for a category that training never saw: no 32-bit hash, so no combination with it is in
the table, save for a chance of 2**-64 per entry that CatBoost itself takes."""

_MASK = 2**64 - 1
_COUNTING = ("Counter", "FeatureFreq")


@dataclass(frozen=True)
class CtrLookup:
    """Everything the graph needs to turn a row into its target statistics.

    Attributes:
        categoricals: categorical features whose hashes enter, in order.
        bits: float comparisons that enter after them.
        matches: category comparisons that enter after those.
        weights: uint64 [components + 1, P], one column per projection; the last row is a salt that
            keeps projections apart in one shared table.
        keys: int64 [R], salted hashes; ``rows``: int64 [R], row numbers from 1. 0 is "not found".
        projection_of: int64 [C], the projection each statistic reads.
        offsets: int64 [C], where each statistic's values begin in ``values``.
        values: float32 [V].
    """

    categoricals: tuple[int, ...]
    bits: tuple[FloatSplit, ...]
    matches: tuple[OneHotSplit, ...]
    weights: NDArray[np.uint64]
    keys: NDArray[np.int64]
    rows: NDArray[np.int64]
    projection_of: NDArray[np.int64]
    offsets: NDArray[np.int64]
    values: NDArray[np.float32]


def ctr_values(ctr: Ctr, table: CtrTable) -> tuple[NDArray[np.float32], np.float32]:
    """Return a statistic's value for every group of its table, and for an unknown group.

    All arithmetic is float32 in CatBoost's order: one rounding more or less moves a value across a
    border.

    Returns:
        float32 [G], and one float32.

    Raises:
        ModelFormatError: unknown kind of statistic.
    """
    counts = table.counts
    total, unknown_total = counts.sum(axis=1), 0.0
    if ctr.kind == "Borders":
        hits = counts[:, ctr.target_border + 1 :].sum(axis=1)
    elif ctr.kind == "Buckets":
        hits = counts[:, ctr.target_border]
    elif ctr.kind in _COUNTING:
        hits, unknown_total = counts[:, 0], float(table.denominator)
        total = np.full(len(counts), unknown_total)
    elif ctr.kind in ("BinarizedTargetMeanValue", "FloatTargetMeanValue"):
        hits, total = counts[:, 0], counts[:, 1]
    else:
        raise ModelFormatError(f"unknown kind of target statistic {ctr.kind!r}")
    known = _calculate(ctr, hits, total)
    unknown = _calculate(ctr, np.zeros(1), np.full(1, unknown_total))
    return known, unknown[0]


def _calculate(
    ctr: Ctr, hits: NDArray[np.float64], total: NDArray[np.float64]
) -> NDArray[np.float32]:
    single = np.float32
    numerator = hits.astype(single) + single(ctr.prior_numerator)
    denominator = total.astype(single) + single(ctr.prior_denominator)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numerator / denominator
    result: NDArray[np.float32] = (ratio + single(ctr.shift)) * single(ctr.scale)
    return result


def hash_weights(count: int) -> list[int]:
    """Return the factors of ``count`` hashed values, in order, modulo 2**64."""
    return [pow(MULTIPLIER, count - k + 1, 2**64) for k in range(count)]


def build_lookup(model: CatBoostModel, used: Sequence[int]) -> CtrLookup:
    """Lay out the statistics ``used`` (indices into ``model.ctrs``) as one table.

    Raises:
        ModelFormatError: unknown kind of statistic, or a table that is not in the model.
    """
    ctrs = [model.ctrs[index] for index in used]
    members: dict[Projection, list[Ctr]] = {}
    for ctr in ctrs:
        members.setdefault(ctr.projection, []).append(ctr)
    projections = list(members)
    number = {projection: index for index, projection in enumerate(projections)}
    categoricals = tuple(sorted({c for p in projections for c in p.categoricals}))
    bits = tuple(dict.fromkeys(bit for p in projections for bit in p.bits))
    matches = tuple(dict.fromkeys(match for p in projections for match in p.matches))
    tables = [_merge(model, group) for group in members.values()]
    salts = _salts([table.hashes for table in tables])
    components: list[object] = [*categoricals, *bits, *matches]
    weights = _weights(projections, {c: i for i, c in enumerate(components)}, salts)
    keys = [(t.hashes + np.uint64(salt)) for t, salt in zip(tables, salts, strict=True)]
    values, offsets = _values([tables[number[c.projection]].values[c] for c in ctrs])
    return CtrLookup(
        categoricals, bits, matches, weights,
        keys=np.concatenate(keys).view(np.int64),
        rows=np.concatenate([table.rows for table in tables]),
        projection_of=np.asarray([number[c.projection] for c in ctrs], np.int64),
        offsets=offsets,
        values=values,
    )  # fmt: skip


@dataclass(frozen=True)
class _Merged:
    """One projection's groups: hash to row, and each statistic's value per row (row 0: unknown)."""

    hashes: NDArray[np.uint64]
    rows: NDArray[np.int64]
    values: dict[Ctr, NDArray[np.float32]]


def _merge(model: CatBoostModel, ctrs: Sequence[Ctr]) -> _Merged:
    """Join the tables of one projection's statistics; groups no tree can tell apart share a row.

    A group that reads like an unknown one needs no entry at all. This takes most entries of
    high-cardinality columns away, without a change in any answer.
    """
    try:
        tables = [model.ctr_tables[ctr.table] for ctr in ctrs]
    except KeyError as error:
        raise ModelFormatError(f"no counts for the statistic {error.args[0]}") from error
    hashes = np.unique(np.concatenate([table.hashes for table in tables]))
    values = np.empty((len(hashes) + 1, len(ctrs)), np.float32)
    bins = np.empty(values.shape, np.int32)
    for column, (ctr, table) in enumerate(zip(ctrs, tables, strict=True)):
        known, unknown = ctr_values(ctr, table)
        values[:, column] = unknown
        values[1 + np.searchsorted(hashes, table.hashes), column] = known
        borders = np.asarray(ctr.borders, np.float32)
        bins[:, column] = np.searchsorted(borders, values[:, column], side="left")
    _, first, group = np.unique(bins, axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    order = np.argsort(first)  # row 0, the unknown group, comes first
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    rows = rank[group][1:]
    known_rows = rows > 0
    shared = values[first[order]]
    return _Merged(
        hashes[known_rows],
        rows[known_rows],
        {ctr: shared[:, column] for column, ctr in enumerate(ctrs)},
    )


def _salts(tables: Sequence[NDArray[np.uint64]]) -> list[int]:
    """Return one addend per projection such that no two salted hashes of the model are equal."""
    for attempt in range(1, 100):
        step = 0x9E3779B97F4A7C15 * attempt | 1
        salts = [(index * step) & _MASK for index in range(len(tables))]
        keys = [t + np.uint64(s) for t, s in zip(tables, salts, strict=True)]
        joined = np.concatenate(keys)
        if len(np.unique(joined)) == len(joined):
            return salts
    raise ModelFormatError("the hashes of the target statistics cannot be told apart")


def _weights(
    projections: Sequence[Projection], position: dict[object, int], salts: Sequence[int]
) -> NDArray[np.uint64]:
    weights = np.zeros((len(position) + 1, len(projections)), np.uint64)
    for column, (projection, salt) in enumerate(zip(projections, salts, strict=True)):
        values: list[object] = [*projection.categoricals, *projection.bits, *projection.matches]
        for value, factor in zip(values, hash_weights(len(values)), strict=True):
            row = position[value]
            # The same fact twice in one combination adds up, as it does in the hash.
            weights[row, column] = (int(weights[row, column]) + factor) & _MASK
        weights[-1, column] = salt
    return weights


def _values(
    columns: Sequence[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    lengths = np.asarray([len(column) for column in columns], np.int64)
    return np.concatenate(columns), np.cumsum(lengths) - lengths
