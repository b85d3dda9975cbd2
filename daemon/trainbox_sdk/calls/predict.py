"""Predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainbox_sdk.artifacts import (
    Prediction,
    PredictRequest,
)
from trainbox_sdk.calls.base import Principal
from trainbox_sdk.predictions import (
    InferRequest,
    InferResult,
    ServedModel,
    TableFormat,
    TableRequest,
)


class PredictCalls(Protocol):
    """What can be asked of a model."""

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Predict rows in a confined worker process.

        Raises:
            ValidationFailed: missing, extra or wrongly typed columns; says row and column.
            Unavailable: the worker died or ran out of time; says which.
        """

    async def infer(self, who: Principal, request: InferRequest) -> InferResult:
        """Run a model on tensors in a confined worker process.

        Raises:
            ValidationFailed: tensors the model does not take, or outputs it does not have.
            TooLarge: more rows than one request may have.
            Unavailable: the worker died or ran out of time; says which.
        """

    async def predict_table(self, who: Principal, request: TableRequest) -> Prediction:
        """Predict the rows of a table that is opened in a confined worker process.

        Raises:
            ValidationFailed: it cannot be read; or as :meth:`predict`.
            Unavailable: as :meth:`predict`.
        """

    async def write_table(
        self, who: Principal, columns: Mapping[str, Sequence[Any]], format: TableFormat
    ) -> bytes:
        """Return columns of JSON values, None where missing, as ``arrow`` or ``parquet``.

        Raises:
            Unavailable: the worker that writes it failed.
        """

    async def served_model(self, who: Principal, model: str) -> ServedModel:
        """Return what a model takes and gives, with a worker of it ready.

        Raises:
            NotFound: absent, or not theirs.
            Unavailable: it cannot be served now, or ever; the code says which.
        """
