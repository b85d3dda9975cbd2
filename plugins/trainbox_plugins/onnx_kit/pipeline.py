"""One graph from raw typed columns to predictions: the public ``build_onnx``.

Inputs are named as the columns, each [N, 1]; see :data:`columns.ELEMENTS`. Outputs:

* regression: ``prediction`` float32 [N, D] (D = 1 but for multi-target losses);
* classification: ``prediction`` [N, 1] of the labels' own type, ``probabilities`` float32 [N, C],
  ``classes`` [C], the labels in the order of the probabilities.

Reference: ONNX operator specifications, ai.onnx 18 and ai.onnx.ml 3 (LabelEncoder 2,
TreeEnsembleRegressor 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainbox_plugins.onnx_kit.columns import ELEMENTS, Column
from trainbox_plugins.onnx_kit.features import Features
from trainbox_plugins.onnx_kit.graph import BATCH, ML, GraphBuilder, element_type
from trainbox_plugins.onnx_kit.trees import Forest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from trainbox_plugins.onnx_kit.catboost_json import (
        CatBoostModel,
    )

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
    features = Features(
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


def _raw_scores(
    builder: GraphBuilder, model: CatBoostModel, features: Features, any_input: str
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
