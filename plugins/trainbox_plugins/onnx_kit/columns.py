"""Raw columns: how each kind enters the graph, and which model features it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from trainbox_plugins.onnx_kit import calendar_features

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["number", "boolean", "string", "datetime"]

Table = Mapping[str, NDArray[Any]]
"""Column name to values [N]: float32 (number, boolean), object of str (string) or int64 (datetime,
epoch seconds). Missing is NaN, ``""`` and :data:`calendar_features.MISSING`."""

ELEMENTS: Mapping[Kind, str] = {
    "number": "float",
    "boolean": "float",
    "string": "string",
    "datetime": "int64",
}
"""ONNX element type of each kind's input, whose shape is [N, 1]."""


@dataclass(frozen=True)
class Column:
    """One raw input column."""

    name: str
    kind: Kind

    @property
    def width(self) -> int:
        """How many model features the column becomes."""
        return len(calendar_features.PARTS) if self.kind == "datetime" else 1


def feature_positions(columns: Sequence[Column]) -> list[tuple[int, int]]:
    """Return, for each model feature in training order, its column's number and its part there."""
    return [(index, part) for index, column in enumerate(columns) for part in range(column.width)]


def feed(columns: Sequence[Column], table: Table) -> dict[str, NDArray[Any]]:
    """Return what onnxruntime takes: every column as [N, 1]."""
    return {column.name: table[column.name].reshape(-1, 1) for column in columns}


def take(table: Table, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the given rows of every column."""
    return {name: values[rows] for name, values in table.items()}


def row_count(table: Table) -> int:
    """Return N; a table without columns has no rows."""
    return next((len(values) for values in table.values()), 0)
