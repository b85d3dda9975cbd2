"""Predictions."""

from __future__ import annotations

from typing import Protocol

from trainbox_sdk.artifacts import (
    Prediction,
    PredictRequest,
)
from trainbox_sdk.calls.base import Principal


class PredictCalls(Protocol):
    """What can be asked of a model."""

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Predict rows in a confined worker process.

        Raises:
            ValidationFailed: missing, extra or wrongly typed columns; says row and column.
            Unavailable: the worker died or ran out of time; says which.
        """
