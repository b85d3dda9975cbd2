"""What the artifact says about itself: its signature, and what training saw."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from trainbox_plugins.onnx_kit.calendar_features import EARLIEST, LATEST, MISSING
from trainbox_plugins.onnx_kit.columns import ELEMENTS, Column
from trainbox_plugins.onnx_kit.graph import element_type
from trainbox_plugins.onnx_kit.pipeline import CLASSES, PREDICTION, PROBABILITIES
from trainbox_plugins.tabular.guest.frame import Coded, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from trainbox_plugins.tabular.guest.dataset import Dataset
    from trainbox_plugins.tabular.guest.settings import Settings

SCHEMA_VERSION = 1
_EXAMPLES = 10


def signature(data: Dataset) -> dict[str, list[dict[str, Any]]]:
    """Return inputs and outputs: name, what it is (``type``), ONNX element type (``dtype``)."""
    frame, classes = data.frame, data.target.classes
    inputs = [_input(column, frame.values[column.name]) for column in frame.columns]
    if classes is None:
        outputs = [{"name": PREDICTION, "type": "number", "dtype": "float", "shape": ["N", 1]}]
    else:
        element, count = element_type(classes), len(classes)
        outputs = [
            {"name": PREDICTION, "type": "label", "dtype": element, "shape": ["N", 1]},
            {"name": PROBABILITIES, "type": "number", "dtype": "float", "shape": ["N", count]},
            {"name": CLASSES, "type": "label", "dtype": element, "shape": [count]},
        ]
    return {"inputs": inputs, "outputs": outputs}


def metadata(data: Dataset, settings: Settings, job: Mapping[str, Any]) -> dict[str, str]:
    """Return the ``metadata_props`` of the artifact, but for the parity report."""
    facts = {
        "trainbox.schema_version": str(SCHEMA_VERSION),
        "trainbox.schema": json.dumps(signature(data), ensure_ascii=False),
        "trainbox.task": settings.task,
        "trainbox.target": settings.target,
        "trainbox.job_id": str(job.get("job_id", "")),
        "trainbox.dataset_digest": str(job.get("dataset_digest", "")),
        "trainbox.dataset_name": str(job.get("dataset_name", "")),
    }
    if data.target.classes is not None:
        facts["trainbox.classes"] = json.dumps(data.target.classes.tolist(), ensure_ascii=False)
    return facts


def _input(column: Column, values: Values) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.kind,
        "dtype": ELEMENTS[column.kind],
        "shape": ["N", 1],
        "nullable": True,  # the graph takes a missing value in every column
        "training": _seen(column, values),
    }


def _seen(column: Column, values: Values) -> dict[str, Any]:
    if isinstance(values, Coded):
        return _seen_texts(values)
    if column.kind == "datetime":
        gone = values == MISSING
        known = np.clip(values[~gone], EARLIEST, LATEST)
        span: dict[str, Any] = {"min": _iso(known.min()), "max": _iso(known.max())}
    else:
        gone = np.isnan(values)
        known = values[~gone]
        span = {"min": float(known.min()), "max": float(known.max())}
        if column.kind == "number":
            span["median"] = float(np.median(known))
    return {"missing": int(gone.sum()), **span}


def _seen_texts(values: Coded) -> dict[str, Any]:
    counts = np.bincount(values.codes, minlength=len(values.texts))
    order = np.argsort(-counts, kind="stable")
    named = [code for code in order if values.texts[code] != ""]
    missing = int(counts[values.texts == ""].sum())
    examples = [str(values.texts[code])[:100] for code in named[:_EXAMPLES]]
    return {"missing": missing, "categories": len(named), "examples": examples}


def _iso(seconds: NDArray[np.int64]) -> str:
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=int(seconds))
    return moment.isoformat()
