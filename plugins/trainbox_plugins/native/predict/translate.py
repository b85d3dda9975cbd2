"""Between the words of ``/v1/predict`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.predict import wire
from trainbox_sdk.artifacts import Prediction


def prediction(result: Prediction) -> wire.PredictionOut:
    """Return a prediction as ``/v1`` says it."""
    return {"model_id": result.model_id, "rows": result.rows, "warnings": result.warnings}
