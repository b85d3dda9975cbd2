"""Adds what a model's trees compare: raw columns in, one float matrix out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainbox_plugins.onnx_kit import calendar_features, ctr_tables
from trainbox_plugins.onnx_kit.catboost_json import (
    Branch,
    CatBoostModel,
    CtrSplit,
    FloatSplit,
    ObliviousTree,
    OneHotSplit,
    Split,
)
from trainbox_plugins.onnx_kit.columns import Column, feature_positions
from trainbox_plugins.onnx_kit.graph import ML, GraphBuilder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class _Used:
    """The distinct questions a model asks, each in order of first appearance."""

    floats: tuple[int, ...]
    one_hot: tuple[OneHotSplit, ...]
    ctrs: tuple[int, ...]


def _used(model: CatBoostModel) -> _Used:
    floats: dict[int, None] = {}
    one_hot: dict[OneHotSplit, None] = {}
    ctrs: dict[int, None] = {}
    for tree in model.trees:
        for split in _splits(tree):
            if isinstance(split, FloatSplit):
                floats[split.feature] = None
            elif isinstance(split, OneHotSplit):
                one_hot[split] = None
            else:
                ctrs[split.ctr] = None
    for index in ctrs:
        floats.update(dict.fromkeys(bit.feature for bit in model.ctrs[index].projection.bits))
    return _Used(tuple(floats), tuple(one_hot), tuple(ctrs))


def _splits(tree: ObliviousTree | Branch) -> list[Split]:
    if isinstance(tree, ObliviousTree):
        return list(tree.splits)
    found: list[Split] = []
    stack: list[Branch | None] = [tree]
    while stack:
        node = stack.pop()
        if node is not None and node.split is not None:
            found.append(node.split)
            stack.extend((node.no, node.yes))
    return found


class Features:
    """Adds everything the trees compare, as one float32 [N, K] matrix without a NaN.

    ``matrix`` is its name, None for a model that asks nothing; ``locate`` finds a split's column.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        model: CatBoostModel,
        *,
        columns: Sequence[Column],
        inputs: Sequence[str],
        hashes: Mapping[str, int],
        categories: Mapping[str, Sequence[str]] | None,
    ) -> None:
        self._builder = builder
        self._model = model
        self._columns = columns
        self._inputs = inputs
        self._hashes = hashes
        self._categories = categories
        self._positions = feature_positions(columns)
        self._hashed: dict[int, str] = {}
        self._used = _used(model)
        self._float_column = {feature: i for i, feature in enumerate(self._used.floats)}
        self._floats = self._add_floats()
        blocks = [self._floats, self._add_one_hot(), self._add_ctrs()]
        present = [block for block in blocks if block is not None]
        self.matrix = builder.concat(present) if present else None
        one_hot_start = len(self._used.floats)
        ctr_start = one_hot_start + len(self._used.one_hot)
        self._one_hot_column = {s: one_hot_start + i for i, s in enumerate(self._used.one_hot)}
        self._ctr_column = {c: ctr_start + i for i, c in enumerate(self._used.ctrs)}

    def locate(self, split: Split) -> tuple[int, float]:
        """Return a split's column in the matrix and its threshold."""
        if isinstance(split, FloatSplit):
            return self._float_column[split.feature], split.border
        if isinstance(split, CtrSplit):
            return self._ctr_column[split.ctr], split.border
        return self._one_hot_column[split], 0.5

    def _add_floats(self) -> str | None:
        if not self._used.floats:
            return None
        builder, blocks, at = self._builder, [], {}
        features = [self._model.float_features[feature] for feature in self._used.floats]
        width = 0
        for column in dict.fromkeys(self._positions[f.flat_index][0] for f in features):
            kind, value = self._columns[column].kind, self._inputs[column]
            calendar = kind == "datetime"
            blocks.append(calendar_features.add_calendar(builder, value) if calendar else value)
            at[column] = width
            width += self._columns[column].width
        joined = builder.concat(blocks)
        placed = [self._positions[f.flat_index] for f in features]
        picked = builder.columns(joined, [at[column] + part for column, part in placed])
        # A missing value takes the side CatBoost gives it; no later operator meets a NaN.
        sides = [np.inf if f.nan_is_high else -np.inf for f in features]
        side = builder.constant(np.asarray([sides], np.float32))
        return builder.node("Where", builder.node("IsNaN", picked), side, picked)

    def _hash(self, categorical: int) -> str:
        """Add the hash of a string column, int64 [N, 1]; ``UNSEEN`` where training never saw it."""
        if categorical not in self._hashed:
            flat = self._model.categorical_flat_indices[categorical]
            column = self._positions[flat][0]
            name = self._columns[column].name
            seen = self._categories[name] if self._categories is not None else self._hashes
            known = [text for text in seen if text in self._hashes]
            self._hashed[categorical] = self._builder.node(
                "LabelEncoder",
                self._inputs[column],
                domain=ML,
                keys_strings=known,
                values_int64s=np.asarray([self._hashes[text] for text in known], np.int64),
                default_int64=ctr_tables.UNSEEN,
            )
        return self._hashed[categorical]

    def _matches(self, splits: Sequence[OneHotSplit]) -> str:
        """Add category comparisons, bool [N, len(splits)]."""
        distinct = list(dict.fromkeys(split.feature for split in splits))
        hashes = self._builder.concat([self._hash(feature) for feature in distinct])
        picked = self._builder.columns(hashes, [distinct.index(s.feature) for s in splits])
        wanted = self._builder.constant(np.asarray([[s.hash for s in splits]], np.int64))
        return self._builder.node("Equal", picked, wanted)

    def _add_one_hot(self) -> str | None:
        if not self._used.one_hot:
            return None
        return self._builder.cast(self._matches(self._used.one_hot), "float")

    def _add_bits(self, bits: Sequence[FloatSplit]) -> str:
        """Add float comparisons, bool [N, len(bits)]."""
        assert self._floats is not None
        columns = [self._float_column[bit.feature] for bit in bits]
        borders = self._builder.constant(np.asarray([[b.border for b in bits]], np.float32))
        return self._builder.node("Greater", self._builder.columns(self._floats, columns), borders)

    def _add_ctrs(self) -> str | None:
        if not self._used.ctrs:
            return None
        builder = self._builder
        lookup = ctr_tables.build_lookup(self._model, self._used.ctrs)
        hashed = [self._hash(categorical) for categorical in lookup.categoricals]
        components = list(hashed)
        if lookup.bits:
            components.append(builder.cast(self._add_bits(lookup.bits), "int64"))
        if lookup.matches:
            components.append(builder.cast(self._matches(lookup.matches), "int64"))
        components.append(builder.cast(builder.node("Equal", hashed[0], hashed[0]), "int64"))
        # Unsigned, because only there is arithmetic modulo 2**64 well defined.
        values = builder.cast(builder.concat(components), "uint64")
        product = builder.node("MatMul", values, builder.constant(lookup.weights))
        rows = builder.node(
            "LabelEncoder",
            builder.cast(product, "int64"),
            domain=ML,
            keys_int64s=lookup.keys,
            values_int64s=lookup.rows,
            default_int64=0,
        )
        picked = builder.columns(rows, lookup.projection_of.tolist())
        position = builder.node("Add", picked, builder.constant(lookup.offsets[None, :]))
        return builder.node("Gather", builder.constant(lookup.values), position, axis=0)
