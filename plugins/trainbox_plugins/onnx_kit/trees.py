"""Decision trees as the arrays of ONNX ``TreeEnsembleRegressor`` operators.

Reference: ONNX operator specification, ai.onnx.ml TreeEnsembleRegressor, version 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainbox_plugins.onnx_kit.catboost_json import Branch, ObliviousTree, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

TREES_PER_OPERATOR = 250

Locate = Callable[[Split], tuple[int, float]]
"""Maps a split to its column in the feature matrix and its threshold (true where greater)."""


@dataclass(frozen=True)
class TreeArrays:
    """One tree: node i asks ``feature[i] > threshold[i]``, or is a leaf where ``leaf[i] >= 0``."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    no: NDArray[np.int64]
    yes: NDArray[np.int64]
    leaf: NDArray[np.int64]
    values: NDArray[np.float64]


def oblivious_arrays(tree: ObliviousTree, locate: Locate) -> TreeArrays:
    """Lay a symmetric tree out as a heap: node i has the children 2i+1 (no) and 2i+2 (yes).

    Bit k of a leaf number is the answer of split k, so the *last* split is the root and the leaves
    stand in order from left to right.
    """
    depth = len(tree.splits)
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    placed = [locate(split) for split in reversed(tree.splits)]
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    arrays = _empty(nodes, tree.leaves)
    arrays.feature[:inner] = np.asarray([column for column, _ in placed], np.int64)[level]
    arrays.threshold[:inner] = np.asarray([border for _, border in placed], np.float32)[level]
    arrays.no[:inner] = 2 * np.arange(inner) + 1
    arrays.yes[:inner] = 2 * np.arange(inner) + 2
    arrays.leaf[inner:] = np.arange(2**depth)
    return arrays


def branch_arrays(tree: Branch, locate: Locate) -> TreeArrays:
    """Lay a non-symmetric tree out in preorder."""
    order: list[Branch] = []
    number: dict[int, int] = {}
    stack = [tree]
    while stack:
        node = stack.pop()
        number[id(node)] = len(order)
        order.append(node)
        stack.extend(child for child in (node.yes, node.no) if child is not None)
    leaves = [node.value for node in order if node.split is None]
    arrays = _empty(len(order), np.stack(leaves))
    found = 0
    for index, node in enumerate(order):
        if node.split is None:
            arrays.leaf[index] = found
            found += 1
            continue
        arrays.feature[index], arrays.threshold[index] = locate(node.split)
        arrays.no[index], arrays.yes[index] = number[id(node.no)], number[id(node.yes)]
    return arrays


def _empty(nodes: int, values: NDArray[np.float64]) -> TreeArrays:
    return TreeArrays(
        feature=np.zeros(nodes, np.int64),
        threshold=np.zeros(nodes, np.float32),
        no=np.zeros(nodes, np.int64),
        yes=np.zeros(nodes, np.int64),
        leaf=np.full(nodes, -1, np.int64),
        values=values,
    )


@dataclass
class Forest:
    """Trees gathered for the operators; trees without a question are kept as a plain sum.

    Attributes:
        constant: float64 [D], the sum of the trees that are a single leaf.
    """

    dimension: int
    constant: NDArray[np.float64]
    trees: list[TreeArrays] = field(default_factory=list)

    @classmethod
    def gather(
        cls, trees: Sequence[ObliviousTree | Branch], dimension: int, locate: Locate
    ) -> Forest:
        """Read all trees of a model."""
        forest = cls(dimension, np.zeros(dimension))
        for tree in trees:
            if isinstance(tree, ObliviousTree):
                arrays = oblivious_arrays(tree, locate)
            else:
                arrays = branch_arrays(tree, locate)
            if len(arrays.feature) == 1:
                forest.constant += arrays.values[0]
            else:
                forest.trees.append(arrays)
        return forest

    def operators(self, scale: float) -> Iterator[dict[str, Any]]:
        """Yield the attributes of the operators whose sum the trees are.

        The operator adds in float32, and its error grows with the number of trees; adding a few
        hundred at a time and those sums in double keeps thousands of trees as exact as hundreds.
        """
        for start in range(0, len(self.trees), TREES_PER_OPERATOR):
            yield self._attributes(self.trees[start : start + TREES_PER_OPERATOR], scale)

    def _attributes(self, trees: Sequence[TreeArrays], scale: float) -> dict[str, Any]:
        """Return one operator's attributes, leaf values multiplied by ``scale``.

        Missing values need no attribute: the feature matrix has none (see ``pipeline``).
        """
        sizes = [len(tree.feature) for tree in trees]
        tree_ids = np.repeat(np.arange(len(sizes)), sizes)
        node_ids = np.concatenate([np.arange(size) for size in sizes])
        leaf = np.concatenate([tree.leaf for tree in trees])
        at = np.flatnonzero(leaf >= 0)
        values = np.concatenate([t.values[t.leaf[t.leaf >= 0]] for t in trees]) * scale
        return {
            "n_targets": self.dimension,
            "nodes_treeids": tree_ids,
            "nodes_nodeids": node_ids,
            "nodes_featureids": np.concatenate([tree.feature for tree in trees]),
            "nodes_values": np.concatenate([tree.threshold for tree in trees]),
            "nodes_falsenodeids": np.concatenate([tree.no for tree in trees]),
            "nodes_truenodeids": np.concatenate([tree.yes for tree in trees]),
            "nodes_modes": np.where(leaf >= 0, "LEAF", "BRANCH_GT").tolist(),
            "target_treeids": np.repeat(tree_ids[at], self.dimension),
            "target_nodeids": np.repeat(node_ids[at], self.dimension),
            "target_ids": np.tile(np.arange(self.dimension), len(at)),
            "target_weights": values.astype(np.float32).ravel(),
        }
