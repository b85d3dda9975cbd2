"""The trained model with pre-processing of its own: what the graph is proved against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainbox_plugins.onnx_kit import calendar_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    import catboost
    from numpy.typing import NDArray

    from trainbox_plugins.onnx_kit.columns import Column, Table


class NativeModel:
    """Answers as ``onnx_kit.parity.Reference`` asks, without a graph anywhere.

    Args:
        model: trained on the features of ``columns``.
        columns: raw columns.
        classes: labels [C], None for regression.
        threads: CPU threads.
    """

    def __init__(
        self,
        model: catboost.CatBoost,
        columns: Sequence[Column],
        classes: NDArray[Any] | None,
        threads: int,
    ) -> None:
        self._model = model
        self._columns = columns
        self._classes = classes
        self._threads = threads

    def __call__(self, table: Table) -> dict[str, NDArray[Any]]:
        """Return ``prediction`` [N] and, for classes, ``probabilities`` [N, C] and ``classes``."""
        features = self._features(table)
        if self._classes is None:
            return {"prediction": self._predict(features, "RawFormulaVal")}
        codes = self._predict(features, "Class").ravel().astype(np.int64)
        return {
            "prediction": self._classes[codes],
            "probabilities": self._predict(features, "Probability"),
            "classes": self._classes,
        }

    def _predict(self, features: pd.DataFrame, kind: str) -> NDArray[Any]:
        answer = self._model.predict(features, prediction_type=kind, thread_count=self._threads)
        return np.asarray(answer)

    def _features(self, table: Table) -> pd.DataFrame:
        parts: list[NDArray[Any]] = []
        for column in self._columns:
            values = table[column.name]
            parts.extend(calendar_parts(values) if column.kind == "datetime" else [values])
        return pd.DataFrame(dict(enumerate(parts)), copy=False)


def calendar_parts(seconds: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Return ``calendar_features.PARTS`` of epoch seconds [N], by numpy's own calendar."""
    missing = seconds == calendar_features.MISSING
    bounded = np.clip(seconds, calendar_features.EARLIEST, calendar_features.LATEST)
    moment = bounded.astype("datetime64[s]")
    year, month, day = (moment.astype(f"datetime64[{unit}]") for unit in "YMD")
    number = day.astype(np.int64)
    parts = (
        year.astype(np.int64) + 1970,
        month.astype(np.int64) % 12 + 1,
        (day - month.astype("datetime64[D]")).astype(np.int64) + 1,
        (number + 3) % 7,
        bounded % 86_400 // 3_600,
        (day - year.astype("datetime64[D]")).astype(np.int64) + 1,
        number,
        bounded % 86_400,
    )
    return [np.where(missing, np.nan, part).astype(np.float32) for part in parts]
