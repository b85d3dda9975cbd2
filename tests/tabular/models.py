"""Small CatBoost models and their graphs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import catboost
import numpy as np
from mixed_data import mixed

from trainbox_plugins.onnx_kit.catboost_json import CatBoostModel
from trainbox_plugins.onnx_kit.columns import Column, feed
from trainbox_plugins.onnx_kit.pipeline import build_onnx
from trainbox_plugins.onnx_kit.session import open_session
from trainbox_plugins.tabular.guest.export import column_borders, read_back
from trainbox_plugins.tabular.guest.frame import Coded, Frame
from trainbox_plugins.tabular.guest.native import NativeModel

KINDS = {
    "amount": "number", "count": "number", "member": "boolean", "colour": "string",
    "city": "string", "day": "datetime", "moment": "datetime",
}  # fmt: skip


def frame_of(columns: list[str], rows: int = 400, seed: int = 0) -> tuple[Frame, np.ndarray]:
    """Return the named columns of the mixed data as a frame, and its target."""
    data = mixed(rows, seed=seed)
    values: dict[str, Any] = {}
    for name in columns:
        kind = KINDS[name]
        if kind == "string":
            texts, codes = np.unique(data[name].fillna("").astype(object), return_inverse=True)
            values[name] = Coded(codes.astype(np.int32), texts.astype(object))
        elif kind == "datetime":
            stamps = data[name].to_numpy().astype("datetime64[s]")
            values[name] = stamps.astype(np.int64)  # NaT is the smallest int64
        else:
            values[name] = data[name].astype("Float64").to_numpy(np.float32, na_value=np.nan)
    return Frame(tuple(Column(n, KINDS[n]) for n in columns), values), data["y"].to_numpy()


def read_json(model: catboost.CatBoost, pool: catboost.Pool) -> CatBoostModel:
    """Return the model as CatBoost describes it."""
    with tempfile.TemporaryDirectory() as folder:
        return read_back(model, pool, Path(folder))


@dataclass
class Trained:
    """A model, what it was trained on, and its description."""

    model: catboost.CatBoost
    pool: catboost.Pool
    frame: Frame
    parsed: CatBoostModel
    classes: np.ndarray | None

    def onnx(self, parsed: CatBoostModel | None = None) -> bytes:
        return build_onnx(
            parsed or self.parsed,
            self.frame.columns,
            classes=self.classes,
            categories=self.frame.categories(),
        )

    def native(self) -> NativeModel:
        return NativeModel(self.model, self.frame.columns, self.classes, 2)

    def borders(self) -> dict[str, list[float]]:
        return column_borders(self.parsed, self.frame.columns)

    def table(self) -> dict[str, np.ndarray]:
        return self.frame.table(np.arange(self.pool.num_row()))


def train(
    loss: str,
    columns: list[str],
    *,
    target: np.ndarray | None = None,
    rows: int = 400,
    classes: int = 3,
    **parameters: Any,
) -> Trained:
    """Train a small model; a classifying loss cuts the target into classes."""
    frame, signal = frame_of(columns, rows)
    target = signal if target is None else target
    base = loss.split(":")[0]
    names = None
    if base in ("Logloss", "MultiClass", "MultiClassOneVsAll"):
        count = 2 if base == "Logloss" else classes
        target = np.digitize(target, np.quantile(target, np.arange(1, count) / count))
        names = np.asarray([f"class {i}" for i in range(count)], object)
    elif base in ("Poisson", "Tweedie"):
        target = np.round(np.abs(target))
    elif base == "CrossEntropy":
        target = 1 / (1 + np.exp(-target))
        names = np.asarray([False, True])
    elif base == "MultiRMSE":
        target = np.stack([target, -2 * target + 1], axis=1)
    pool = catboost.Pool(frame.features(), label=target, cat_features=frame.categorical_features())
    model = catboost.CatBoost(
        {
            "loss_function": loss, "iterations": 40, "thread_count": 2, "random_seed": 1,
            "logging_level": "Silent", "allow_writing_files": False, **parameters,
        }
    )  # fmt: skip
    model.fit(pool)
    return Trained(model, pool, frame, read_json(model, pool), names)


def run(onnx: bytes, frame: Frame, table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a graph over a table."""
    session = open_session(onnx)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed(frame.columns, table)), strict=True))
