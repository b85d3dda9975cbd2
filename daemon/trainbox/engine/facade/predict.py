"""Predictions, as surfaces see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainbox.engine.facade.rooms import Desk, Rooms
from trainbox.engine.predict_lookup import Lookup
from trainbox.engine.predict_values import unserved
from trainbox_sdk.artifacts import ModelView, Prediction, PredictRequest
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import Conflict
from trainbox_sdk.predictions import (
    InferRequest,
    InferResult,
    ServedModel,
    TableFormat,
    TableRequest,
)


class PredictDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.predict.PredictCalls`."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(rooms)
        self._lookup = Lookup(self._find, lambda: rooms.store.commits)

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Predict rows in a confined worker process."""
        model, path = await self._model(who, request.model)
        return await self._r.predictor.predict(
            model, path, request.rows, ignore_extra=request.ignore_extra
        )

    async def infer(self, who: Principal, request: InferRequest) -> InferResult:
        """Run a model on tensors in a confined worker process."""
        model, path = await self._model(who, request.model)
        return await self._r.predictor.infer(model, path, request)

    async def predict_table(self, who: Principal, request: TableRequest) -> Prediction:
        """Predict the rows of a table that is opened in a confined worker process."""
        model, path = await self._model(who, request.model)
        rows = await self._r.predictor.read_table(model, self._r.tables, request)
        return await self._r.predictor.predict(model, path, rows, ignore_extra=request.ignore_extra)

    async def write_table(
        self, who: Principal, columns: Mapping[str, Sequence[Any]], format: TableFormat
    ) -> bytes:
        """Return columns as the bytes of a table."""
        self._r.access.require(who, "predict")
        return await self._r.tables.write(format, columns)

    async def served_model(self, who: Principal, model: str) -> ServedModel:
        """Return what a model takes and gives, with a worker of it ready."""
        return await self._r.predictor.describe(*await self._model(who, model))

    async def _model(self, who: Principal, reference: str) -> tuple[ModelView, Path]:
        self._r.access.require(who, "predict")
        return await self._lookup.model(who, reference)

    async def _find(self, who: Principal, reference: str) -> tuple[ModelView, Path]:
        model = await self._r.access.model(who, reference)
        why = unserved(model.signature)
        if why:
            raise Conflict(
                f"{model.name}:{model.version} answers no predictions: {why}",
                code="model_not_served",
                hint=f"download it: GET /v1/models/{model.id}/onnx",
            )
        return model, self._r.blobs.path(model.digest)
