"""Feature columns in memory, and the table CatBoost trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainbox_plugins.onnx_kit import calendar_features
from trainbox_plugins.onnx_kit.session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainbox_plugins.onnx_kit.columns import Column

_CALENDAR_CHUNK = 65_536


@dataclass(frozen=True)
class Coded:
    """A string column: ``texts[codes]`` are its values. Missing is ``""``.

    Attributes:
        codes: int32 [N].
        texts: object [K] of str, distinct, all of them in use.
    """

    codes: NDArray[np.int32]
    texts: NDArray[Any]

    def take(self, rows: NDArray[np.int64]) -> Coded:
        """Return the given rows, over the same texts."""
        return Coded(self.codes[rows], self.texts)


Values = NDArray[Any] | Coded


@dataclass(frozen=True)
class Frame:
    """Feature columns in the types of the graph's inputs, strings dictionary-coded."""

    columns: tuple[Column, ...]
    values: Mapping[str, Values]

    def table(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return rows as the graph takes them (see ``onnx_kit.columns.Table``)."""
        return {column.name: _plain(self.values[column.name], rows) for column in self.columns}

    def categories(self) -> dict[str, list[str]]:
        """Return each string column's values."""
        coded = ((name, v) for name, v in self.values.items() if isinstance(v, Coded))
        return {name: v.texts.tolist() for name, v in coded}

    def categorical_features(self) -> list[int]:
        """Return the positions of categorical features in :meth:`features`."""
        kinds = [column.kind for column in self.columns for _ in range(column.width)]
        return [position for position, kind in enumerate(kinds) if kind == "string"]

    def features(self) -> pd.DataFrame:
        """Return the model's features, in the order ``onnx_kit`` expects.

        Calendar parts come from the very graph the artifact carries, so they cannot differ.
        """
        parts: list[Any] = []
        calendar = _Calendar()
        for column in self.columns:
            values = self.values[column.name]
            if isinstance(values, Coded):
                texts = pd.Index(values.texts, dtype=object)
                parts.append(pd.Categorical.from_codes(values.codes, categories=texts))
            elif column.kind == "datetime":
                parts.extend(calendar(values).T)
            else:
                parts.append(values)
        # Labels are positions: a column may well be called "day.year" beside a datetime "day".
        return pd.DataFrame(dict(enumerate(parts)), copy=False)


def _plain(values: Values, rows: NDArray[np.int64]) -> NDArray[Any]:
    return values.texts[values.codes[rows]] if isinstance(values, Coded) else values[rows]


class _Calendar:
    """Runs the calendar graph over a whole column, a chunk at a time."""

    def __init__(self) -> None:
        self._session = open_session(calendar_features.calendar_graph())

    def __call__(self, seconds: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.empty((len(seconds), len(calendar_features.PARTS)), np.float32)
        for start in range(0, len(seconds), _CALENDAR_CHUNK):
            chunk = seconds[start : start + _CALENDAR_CHUNK].reshape(-1, 1)
            out[start : start + len(chunk)] = self._session.run(["parts"], {"seconds": chunk})[0]
        return out
