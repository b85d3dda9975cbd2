# ruff: noqa: INP001 - not imported here: it travels with a model
"""Predicts with model.onnx on a pandas DataFrame, as MLflow's python_function flavor.

Travels with the model; needs onnxruntime, numpy and pandas. Values are read as the daemon that
trained the model reads them, and what it would refuse is refused here too.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

EPOCH, SECOND = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(seconds=1)
MISSING_TIME = np.iinfo(np.int64).min
FLOATS = {"float16": np.float16, "float": np.float32, "double": np.float64}


def _load_pyfunc(path: str) -> Model:
    """Return the model of a directory: what MLflow calls."""
    return Model(Path(path))


class Model:
    """One ONNX graph with a column per input."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        signature = json.loads((folder / "signature.json").read_text("utf-8"))
        self.inputs = signature["inputs"]
        self._classes = signature.get("classes")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        self._rank = {value.name: len(value.shape) for value in self._session.get_inputs()}
        self._outputs = [value.name for value in self._session.get_outputs()]

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return one row per row: ``prediction``, and for classes ``probabilities`` by label.

        Raises:
            ValueError: a column is missing or holds what this model does not take.
        """
        del params
        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        feed = {item["name"]: self._column(frame, item) for item in self.inputs}
        answers = dict(zip(self._outputs, self._session.run(None, feed), strict=True))
        classes = answers.pop("classes", None)
        labels = self._classes if classes is None else classes.tolist()
        columns = {name: _entries(name, values, labels) for name, values in answers.items()}
        return pd.DataFrame(columns, index=frame.index)

    def _column(self, frame: pd.DataFrame, item: dict[str, Any]) -> Any:
        name = item["name"]
        if name not in frame.columns:
            raise ValueError(f"column {name!r} is missing")
        try:
            values = _tensor(frame[name], item["type"], item.get("dtype", "float"))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"column {name!r}, a {item['type']}: {error}") from error
        return values.reshape(-1, 1) if self._rank[name] > 1 else values


def _tensor(column: pd.Series, kind: str, dtype: str) -> Any:
    missing = column.isna().to_numpy()
    if kind == "string":
        return np.array(
            ["" if gone else _text(value) for value, gone in zip(column, missing, strict=True)],
            object,
        )
    if kind == "datetime":
        return _seconds(column, missing)
    if kind == "boolean":
        flags = [
            np.nan if gone else _flag(value) for value, gone in zip(column, missing, strict=True)
        ]
        return _cast(np.array(flags, np.float64), missing, FLOATS.get(dtype, np.dtype(dtype)))
    if not pd.api.types.is_numeric_dtype(column.dtype) or column.dtype == bool:
        for value, gone in zip(column, missing, strict=True):
            if not gone:
                _number(value)
    numbers = column.astype(object).where(~missing, np.nan).to_numpy(np.float64)
    return _cast(numbers, missing, FLOATS.get(dtype, np.dtype(dtype)))


def _cast(numbers: Any, missing: Any, dtype: Any) -> Any:
    if np.dtype(dtype).kind != "f":
        if missing.any():
            raise ValueError("it takes no missing value")
        if (numbers != np.floor(numbers)).any():
            raise ValueError("it takes whole numbers alone")
        return numbers.astype(dtype)
    with np.errstate(over="ignore"):
        cast = numbers.astype(dtype)
    if not np.isfinite(cast[~missing]).all():
        raise ValueError(f"a number is infinite or beyond {np.dtype(dtype).name}")
    return cast


def _seconds(column: pd.Series, missing: Any) -> Any:
    """Return whole seconds since 1970 in UTC, rounded down; a time without a zone is in UTC."""
    found = np.full(len(column), MISSING_TIME, np.int64)
    for at, (value, gone) in enumerate(zip(column, missing, strict=True)):
        if not gone:
            if isinstance(value, int | float):
                raise TypeError(f"{value!r} is a number; give a datetime or ISO 8601 text")
            moment = pd.Timestamp(value)
            zoned = moment.tz_localize("UTC") if moment.tzinfo is None else moment
            found[at] = (zoned.to_pydatetime(warn=False) - EPOCH) // SECOND
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _flag(value: Any) -> float:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{value!r} is neither true nor false")
    return float(value)


def _number(value: Any) -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{value!r} is no number")


def _entries(name: str, values: Any, labels: Any) -> list[Any]:
    rows = values.tolist()
    if name == "probabilities" and labels is not None:
        return [dict(zip(map(_key, labels), row, strict=True)) for row in rows]
    return [row[0] if isinstance(row, list) and len(row) == 1 else row for row in rows]


def _key(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
