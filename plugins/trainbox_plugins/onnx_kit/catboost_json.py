"""CatBoost's JSON model format, read into plain dataclasses.

The format is written by ``model.save_model(path, format="json", pool=pool)``. Without ``pool`` it
has no category hashes, and a model with categorical features cannot be rebuilt from it.

Reference: CatBoost documentation, "Export to JSON"; Prokhorenkova et al., "CatBoost: unbiased
boosting with categorical features", arXiv:1706.09516, for target statistics (CTRs).
"""

from __future__ import annotations

import bisect
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


class ModelFormatError(ValueError):
    """The document is not a CatBoost JSON model this reader understands."""


@dataclass(frozen=True)
class FloatFeature:
    """A numeric feature.

    Attributes:
        flat_index: position among all features given to training.
        borders: every threshold the model compares this feature with, ascending, float32 values.
        nan_is_high: a missing value compares above every border (``nan_mode=Max``), else below.
    """

    flat_index: int
    borders: tuple[float, ...]
    nan_is_high: bool


@dataclass(frozen=True)
class FloatSplit:
    """True where numeric feature ``feature`` is greater than ``border``."""

    feature: int
    border: float


@dataclass(frozen=True)
class OneHotSplit:
    """True where categorical feature ``feature`` has the category with signed 32-bit ``hash``."""

    feature: int
    hash: int


@dataclass(frozen=True)
class CtrSplit:
    """True where the value of target statistic number ``ctr`` is greater than ``border``."""

    ctr: int
    border: float


Split = FloatSplit | OneHotSplit | CtrSplit


@dataclass(frozen=True)
class Projection:
    """What one target statistic is grouped by: categories, and yes-or-no facts about the row."""

    categoricals: tuple[int, ...]
    bits: tuple[FloatSplit, ...]
    matches: tuple[OneHotSplit, ...]

    def __len__(self) -> int:
        """Return how many numbers are hashed together."""
        return len(self.categoricals) + len(self.bits) + len(self.matches)


@dataclass(frozen=True)
class Ctr:
    """One target statistic: a table of counts per group, and how to make a number of them."""

    kind: str
    projection: Projection
    table: str
    borders: tuple[float, ...]
    prior_numerator: float
    prior_denominator: float
    shift: float
    scale: float
    target_border: int


@dataclass(frozen=True)
class CtrTable:
    """Counts per group.

    Attributes:
        hashes: group hashes, uint64 [G].
        counts: float64 [G, S]; what the S numbers are depends on the statistic's kind.
        denominator: the largest count, for the counting kinds.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.float64]
    denominator: int


@dataclass(frozen=True)
class ObliviousTree:
    """A symmetric tree: every level asks one question.

    Attributes:
        splits: ``splits[k]`` decides bit k of the leaf number.
        leaves: float64 [2 ** len(splits), D].
    """

    splits: tuple[Split, ...]
    leaves: NDArray[np.float64]


@dataclass(frozen=True)
class Branch:
    """A node of a non-symmetric tree; a leaf has ``value`` (float64 [D]) and nothing else."""

    split: Split | None = None
    no: Branch | None = None
    yes: Branch | None = None
    value: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class CatBoostModel:
    """A whole model.

    Attributes:
        categorical_flat_indices: position of each categorical feature among all features.
        category_hashes: category string to signed 32-bit hash, over all columns of the pool.
        scale: factor on the sum of leaves.
        bias: float64 [D], added after scaling.
        loss: name of the loss function, such as ``RMSE`` or ``MultiClass``.
    """

    float_features: tuple[FloatFeature, ...]
    categorical_flat_indices: tuple[int, ...]
    category_hashes: Mapping[str, int]
    ctrs: tuple[Ctr, ...]
    ctr_tables: Mapping[str, CtrTable]
    trees: tuple[ObliviousTree | Branch, ...]
    scale: float
    bias: NDArray[np.float64]
    loss: str

    @property
    def dimension(self) -> int:
        """How many numbers D the trees add up to."""
        return len(self.bias)


def signed_hash(value: int) -> int:
    """Return the low 32 bits of ``value`` as a signed number, as CatBoost hashes them."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


def parse_model(text: str | bytes) -> CatBoostModel:
    """Read a JSON model.

    Raises:
        ModelFormatError: not such a document, or it uses text, embedding or estimated features,
            which the format does not carry.
    """
    try:
        return _parse(json.loads(text))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, ModelFormatError):
            raise
        raise ModelFormatError(f"not a CatBoost JSON model: {error!r}") from error


def _parse(raw: Mapping[str, Any]) -> CatBoostModel:
    info = raw["features_info"]
    for unsupported in ("text_features", "embedding_features"):
        if info.get(unsupported):
            raise ModelFormatError(f"{unsupported} cannot be rebuilt from JSON")
    scale, bias = raw["scale_and_bias"]
    ctrs = tuple(_parse_ctr(item) for item in info.get("ctrs") or ())
    splits = _SplitReader(info, ctrs)
    dimension = len(bias)
    return CatBoostModel(
        float_features=tuple(_parse_float(item) for item in info.get("float_features") or ()),
        categorical_flat_indices=tuple(
            item["flat_feature_index"] for item in info.get("categorical_features") or ()
        ),
        category_hashes={
            item["value"]: signed_hash(item["hash"]) for item in info.get("cat_features_hash") or ()
        },
        ctrs=ctrs,
        ctr_tables={key: _parse_table(item) for key, item in (raw.get("ctr_data") or {}).items()},
        trees=tuple(_parse_trees(raw, splits, dimension)),
        scale=float(scale),
        bias=np.asarray(bias, dtype=np.float64),
        loss=raw["model_info"]["params"]["loss_function"]["type"],
    )


def _parse_float(item: Mapping[str, Any]) -> FloatFeature:
    return FloatFeature(
        flat_index=item["flat_feature_index"],
        borders=tuple(item.get("borders") or ()),
        nan_is_high=item.get("nan_value_treatment") == "AsTrue",
    )


def _parse_ctr(item: Mapping[str, Any]) -> Ctr:
    return Ctr(
        kind=item["ctr_type"],
        projection=_parse_projection(item["elements"]),
        table=item["identifier"],
        borders=tuple(item["borders"]),
        prior_numerator=item["prior_numerator"],
        prior_denominator=item["prior_denomerator"],  # the format's own spelling
        shift=item["shift"],
        scale=item["scale"],
        target_border=item["target_border_idx"],
    )


def _parse_projection(elements: Sequence[Mapping[str, Any]]) -> Projection:
    by_kind: dict[str, list[Mapping[str, Any]]] = {
        "cat_feature_value": [],
        "float_feature": [],
        "cat_feature_exact_value": [],
    }
    for element in elements:
        by_kind[element["combination_element"]].append(element)
    return Projection(
        categoricals=tuple(e["cat_feature_index"] for e in by_kind["cat_feature_value"]),
        bits=tuple(
            FloatSplit(e["float_feature_index"], e["border"]) for e in by_kind["float_feature"]
        ),
        matches=tuple(
            OneHotSplit(e["cat_feature_index"], signed_hash(e["value"]))
            for e in by_kind["cat_feature_exact_value"]
        ),
    )


def _parse_table(item: Mapping[str, Any]) -> CtrTable:
    flat, stride = item["hash_map"], item["hash_stride"]
    # Hashes are written as strings because JSON numbers lose bits above 2**53.
    hashes = np.fromiter(map(int, flat[::stride]), dtype=np.uint64, count=len(flat) // stride)
    counts = [np.asarray(flat[offset::stride], dtype=np.float64) for offset in range(1, stride)]
    return CtrTable(hashes, np.stack(counts, axis=1), int(item["counter_denominator"]))


class _SplitReader:
    """Turns a split of the document into a :data:`Split`.

    A split on a target statistic names only its number in the list of all splits of the model:
    float borders first, then one-hot categories, then the borders of every statistic in order.
    """

    def __init__(self, info: Mapping[str, Any], ctrs: Sequence[Ctr]) -> None:
        floats = sum(len(item.get("borders") or ()) for item in info.get("float_features") or ())
        one_hot = sum(
            len(item.get("values") or ()) for item in info.get("categorical_features") or ()
        )
        lengths = (len(ctr.borders) for ctr in ctrs)
        self._starts = list(itertools.accumulate(lengths, initial=floats + one_hot))
        self._ctrs = ctrs

    def __call__(self, item: Mapping[str, Any]) -> Split:
        kind = item["split_type"]
        if kind == "FloatFeature":
            return FloatSplit(item["float_feature_index"], item["border"])
        if kind == "OneHotFeature":
            return OneHotSplit(item["cat_feature_index"], signed_hash(item["value"]))
        if kind == "OnlineCtr":
            return self._ctr(item["split_index"], item["border"])
        raise ModelFormatError(f"unknown split type {kind!r}")

    def _ctr(self, index: int, border: float) -> CtrSplit:
        ctr = bisect.bisect_right(self._starts, index) - 1
        if not 0 <= ctr < len(self._ctrs):
            raise ModelFormatError(f"split {index} belongs to no target statistic")
        # The border is written twice; agreeing copies prove that the numbering is understood.
        if self._ctrs[ctr].borders[index - self._starts[ctr]] != border:
            raise ModelFormatError(f"split {index} has another border than its target statistic")
        return CtrSplit(ctr, border)


def _parse_trees(
    raw: Mapping[str, Any], splits: _SplitReader, dimension: int
) -> Iterator[ObliviousTree | Branch]:
    for item in raw.get("oblivious_trees") or ():
        leaves = np.asarray(item["leaf_values"], dtype=np.float64).reshape(-1, dimension)
        yield ObliviousTree(tuple(splits(split) for split in item.get("splits") or ()), leaves)
    for item in raw.get("trees") or ():
        yield _parse_branch(item, splits, dimension)


def _parse_branch(item: Mapping[str, Any], splits: _SplitReader, dimension: int) -> Branch:
    if item.get("split") is None:
        return Branch(value=np.asarray(item["value"], dtype=np.float64).reshape(dimension))
    return Branch(
        split=splits(item["split"]),
        no=_parse_branch(item["left"], splits, dimension),
        yes=_parse_branch(item["right"], splits, dimension),
    )
