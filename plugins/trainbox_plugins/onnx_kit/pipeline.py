"""One graph from raw typed columns to predictions: the public ``build_onnx``.

Inputs are named as the columns, each [N, 1]; see :data:`columns.ELEMENTS`. Outputs:

* regression: ``prediction`` float32 [N, D] (D = 1 but for multi-target losses);
* classification: ``prediction`` [N, 1] of the labels' own type, ``probabilities`` float32 [N, C],
  ``classes`` [C], the labels in the order of the probabilities.

Reference: ONNX operator specifications, ai.onnx 18 and ai.onnx.ml 3 (LabelEncoder 2,
TreeEnsembleRegressor 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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
from trainbox_plugins.onnx_kit.columns import ELEMENTS, Column, feature_positions
from trainbox_plugins.onnx_kit.graph import BATCH, ML, GraphBuilder, element_type
from trainbox_plugins.onnx_kit.trees import Forest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PREDICTION = "prediction"
PROBABILITIES = "probabilities"
CLASSES = "classes"
OUTPUT_NAMES = (PREDICTION, PROBABILITIES, CLASSES)
PRODUCER = "onnx_kit"

Link = Literal["identity", "exp", "variance", "sigmoid", "softmax", "one_vs_all"]

LINKS: Mapping[str, Link] = {
    "Poisson": "exp",
    "Tweedie": "exp",
    "RMSEWithUncertainty": "variance",
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "Focal": "sigmoid",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "one_vs_all",
}
"""What turns a loss function's raw sum into its prediction; losses not named are ``identity``."""


class PipelineError(ValueError):
    """These columns and this model make no graph."""


def build_onnx(
    model: CatBoostModel,
    columns: Sequence[Column],
    *,
    classes: NDArray[Any] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
    category_hashes: Mapping[str, int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Write the model and its pre-processing as one ONNX file.

    Args:
        model: trained on the features of ``columns`` in order (see ``feature_positions``), class
            labels encoded as 0..C-1.
        columns: the raw inputs.
        classes: labels [C] in the order of the encoding (object of str, int64, bool, float64);
            None for regression.
        categories: for each string column the values training saw; keeps other columns' categories
            out of its table. Without it every column carries all of them.
        category_hashes: signed 32-bit hashes that the model's JSON lacks (of two categories with
            one hash it lists only one).
        metadata: goes into ``metadata_props``.

    Returns:
        The serialised model, checked against the specification.

    Raises:
        PipelineError: a column name is empty, twice there or an output's, there is no column, the
            classes do not fit the loss, or the model's JSON was written without its pool.
        catboost_json.ModelFormatError: an unknown kind of target statistic.
    """
    _check(model, columns, classes)
    if model.categorical_flat_indices and not model.category_hashes:
        raise PipelineError("the model's JSON was written without its pool: no category hashes")
    builder = GraphBuilder((*OUTPUT_NAMES, *(column.name for column in columns)))
    inputs = [builder.input(c.name, ELEMENTS[c.kind], (BATCH, 1)) for c in columns]
    hashes = {**model.category_hashes, **(category_hashes or {})}
    features = _Features(
        builder, model, columns=columns, inputs=inputs, hashes=hashes, categories=categories
    )
    head = _Head(builder, _raw_scores(builder, model, features, inputs[0]), model)
    if classes is None:
        head.regression()
    else:
        head.classification(classes)
    return builder.build(producer=PRODUCER, metadata=metadata or {})


def link_of(model: CatBoostModel) -> Link:
    """Return what turns the model's raw sums into its prediction."""
    return LINKS.get(model.loss, "identity")


def _check(model: CatBoostModel, columns: Sequence[Column], classes: NDArray[Any] | None) -> None:
    names = [column.name for column in columns]
    if not names:
        raise PipelineError("a graph needs at least one input column")
    if len(set(names)) != len(names) or not all(names):
        raise PipelineError("column names must be unique and not empty")
    clash = sorted(set(names) & set(OUTPUT_NAMES))
    if clash:
        raise PipelineError(f"column name {clash[0]!r} is taken by an output of the graph")
    classifier = link_of(model) in ("sigmoid", "softmax", "one_vs_all")
    if classifier != (classes is not None):
        raise PipelineError(f"loss {model.loss} and the presence of classes do not fit")
    expected = 2 if link_of(model) == "sigmoid" else model.dimension
    if classes is not None and len(classes) != expected:
        raise PipelineError(f"{len(classes)} classes given, the model has {expected}")


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


class _Features:
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


def _raw_scores(
    builder: GraphBuilder, model: CatBoostModel, features: _Features, any_input: str
) -> str:
    """Add the sum of all trees, double [N, D].

    Bias and partial sums are added in double: in float32 a target far from zero loses its small
    digits.
    """
    forest = Forest.gather(model.trees, model.dimension, features.locate)
    bias = builder.constant((model.bias + model.scale * forest.constant)[None, :])
    if features.matrix is None or not forest.trees:
        batch = builder.node("Shape", any_input, start=0, end=1)
        one = builder.constant(np.asarray([model.dimension], np.int64))
        return builder.node("Expand", bias, builder.node("Concat", batch, one, axis=0))
    total = bias
    for attributes in forest.operators(model.scale):
        part = builder.node("TreeEnsembleRegressor", features.matrix, domain=ML, **attributes)
        total = builder.node("Add", builder.cast(part, "double"), total)
    return total


class _Head:
    """Turns raw scores (double [N, D]) into the declared outputs."""

    def __init__(self, builder: GraphBuilder, raw: str, model: CatBoostModel) -> None:
        self._builder = builder
        self._raw = raw
        self._link = link_of(model)
        self._dimension = model.dimension

    def regression(self) -> None:
        builder, value = self._builder, self._raw
        if self._link == "exp":
            value = builder.node("Exp", value)
        elif self._link == "variance":
            # The second sum is the logarithm of the standard deviation.
            doubled = builder.node("Mul", value, builder.constant(np.asarray(2.0)))
            variance = builder.node("Exp", builder.columns(doubled, [1]))
            value = builder.concat([builder.columns(value, [0]), variance])
        single = builder.cast(value, "float")
        builder.output(PREDICTION, single, "float", (BATCH, self._dimension))

    def classification(self, classes: NDArray[Any]) -> None:
        builder = self._builder
        probabilities, scores = self._probabilities()
        labels, element = builder.constant(classes), element_type(classes)
        best = builder.node("ArgMax", scores, axis=1, keepdims=1)
        builder.output(PREDICTION, builder.node("Gather", labels, best), element, (BATCH, 1))
        single = builder.cast(probabilities, "float")
        builder.output(PROBABILITIES, single, "float", (BATCH, len(classes)))
        builder.output(CLASSES, labels, element, (len(classes),))

    def _probabilities(self) -> tuple[str, str]:
        """Return the probabilities [N, C] and scores [N, C] whose largest is the answer."""
        builder, raw = self._builder, self._raw
        if self._link == "softmax":
            return builder.node("Softmax", raw, axis=1), raw
        if self._link == "one_vs_all":
            return builder.node("Sigmoid", raw), raw
        negative = builder.node("Neg", raw)
        both = builder.concat([negative, raw])
        return builder.node("Sigmoid", both), both
