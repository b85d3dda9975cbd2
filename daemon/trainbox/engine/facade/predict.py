"""Predictions, as surfaces see them."""

from __future__ import annotations

from pathlib import Path

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.artifacts import (
    Prediction,
    PredictRequest,
)
from trainbox_sdk.engine import (
    Principal,
)


class PredictDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.predict.PredictCalls`."""

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Predict rows in a confined worker process."""
        self._r.access.require(who, "predict")
        model = await self._r.access.model(who, request.model)
        path: Path = self._r.blobs.path(model.digest)
        return await self._r.predictor.predict(model, path, request.rows)
