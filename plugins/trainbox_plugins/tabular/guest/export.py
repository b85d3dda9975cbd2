"""Writes the model as one ONNX file, and refuses a file that answers differently."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost
import numpy as np
import pandas as pd

from trainbox_guest.run import GuestError
from trainbox_plugins.onnx_kit.catboost_json import CatBoostModel, parse_model
from trainbox_plugins.onnx_kit.columns import Column, feature_positions
from trainbox_plugins.onnx_kit.graph import with_metadata
from trainbox_plugins.onnx_kit.parity import ParityReport, check_parity
from trainbox_plugins.onnx_kit.pipeline import build_onnx
from trainbox_plugins.tabular.guest.native import NativeModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from trainbox_plugins.tabular.guest.frame import Frame


@dataclass(frozen=True)
class Artifact:
    """A proved ONNX file."""

    onnx: bytes
    parity: ParityReport


def export_model(
    model: catboost.CatBoost,
    pool: catboost.Pool,
    frame: Frame,
    *,
    classes: NDArray[Any] | None,
    probe_rows: NDArray[np.int64],
    spread: float,
    metadata: Mapping[str, str],
    folder: Path,
    threads: int,
    seed: int,
) -> Artifact:
    """Write the graph and compare it with the model.

    Args:
        model: the trained model.
        pool: what it was trained on; it knows the categories' hashes.
        frame: the raw columns.
        classes: labels in code order, None for regression.
        probe_rows: rows of the frame to compare on.
        spread: standard deviation of the target.
        metadata: goes into the file, and ``trainbox.parity`` with it.
        folder: a writable place for what CatBoost cannot keep in memory.
        threads: CPU threads.
        seed: of the choice of probes.

    Raises:
        GuestError: ``parity_failed``: the graph and the model differ; the file is not kept.
    """
    parsed = read_back(model, pool, folder)
    graph = build_onnx(
        parsed,
        frame.columns,
        classes=classes,
        categories=frame.categories(),
        category_hashes=_unlisted_hashes(model, frame, parsed, folder),
        metadata=metadata,
    )
    report = check_parity(
        graph,
        frame.columns,
        frame.table(probe_rows),
        NativeModel(model, frame.columns, classes, threads),
        borders=column_borders(parsed, frame.columns),
        spread=spread,
        seed=seed,
        threads=threads,
    )
    if not report.passed:
        raise GuestError("parity_failed", _disagreement(report), "please report this as a defect")
    return Artifact(with_metadata(graph, {"trainbox.parity": json.dumps(report.to_json())}), report)


def read_back(model: catboost.CatBoost, pool: catboost.Pool, folder: Path) -> CatBoostModel:
    """Return the model as CatBoost describes it in JSON, by way of a file in ``folder``."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        path = Path(inner) / "model.json"
        model.save_model(str(path), format="json", pool=pool)
        return parse_model(path.read_bytes())


def column_borders(model: CatBoostModel, columns: Sequence[Column]) -> dict[str, list[float]]:
    """Return the thresholds the model compares each raw number with."""
    positions = feature_positions(columns)
    found: dict[str, list[float]] = {}
    for feature in model.float_features:
        column = columns[positions[feature.flat_index][0]]
        if column.kind == "number" and feature.borders:
            found[column.name] = list(feature.borders)
    return found


def _unlisted_hashes(
    model: catboost.CatBoost,
    frame: Frame,
    parsed: CatBoostModel,
    folder: Path,
) -> dict[str, int]:
    """Return the hashes of categories that share theirs with another.

    CatBoost hashes categories to 32 bits and lists one text per hash, so that of two texts with
    one hash (likely from about 80 000 categories on) the other is missing. A pool of the missing
    ones alone lists them.
    """
    every = {text for texts in frame.categories().values() for text in texts}
    found: dict[str, int] = {}
    while missing := sorted(every - parsed.category_hashes.keys() - found.keys()):
        answer = _hashes_of(model, frame, missing, folder)
        if not answer.keys() & set(missing):
            raise GuestError("export_failed", f"CatBoost does not hash {missing[0]!r}")
        found |= answer
    return found


def _hashes_of(
    model: catboost.CatBoost, frame: Frame, texts: Sequence[str], folder: Path
) -> dict[str, int]:
    categorical = frame.categorical_features()
    width = sum(column.width for column in frame.columns)
    values = pd.Categorical(texts, categories=pd.Index(texts, dtype=object))
    nothing = np.full(len(texts), np.nan, np.float32)
    features = pd.DataFrame({i: values if i in categorical else nothing for i in range(width)})
    pool = catboost.Pool(features, cat_features=categorical)
    return dict(read_back(model, pool, folder).category_hashes)


def _disagreement(report: ParityReport) -> str:
    first = report.failures[0]
    return (
        f"the exported graph differs from the model on {report.failing_rows} of {report.rows} "
        f"rows; first: {first.output} on a {first.kind} row, expected {first.expected}, got "
        f"{first.got}, row {json.dumps(first.row)[:1000]}"
    )
