"""The fake engine's part of :mod:`trainbox_sdk.calls`: predict."""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from trainbox_sdk.artifacts import (
    Prediction,
    PredictRequest,
)
from trainbox_sdk.engine import (
    Principal,
)
from trainbox_sdk.errors import (
    FieldError,
    Unavailable,
    ValidationFailed,
)
from trainbox_sdk.predictions import (
    Datatype,
    InferRequest,
    InferResult,
    ServedModel,
    TableFormat,
    TableRequest,
    Tensor,
    TensorSpec,
)
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_models import FakeModelCalls

_DATATYPES: Mapping[str, Datatype] = {"number": "FP32", "string": "BYTES"}
_YES = struct.pack("<I", 3) + b"yes"


class FakePredictCalls(FakeModelCalls):
    """In memory, by the same contract."""

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Answer a constant for rows with exactly the columns of the signature."""
        self._enter("predict")
        model = await self.model(who, request.model)
        names = {column["name"] for column in model.signature["inputs"]}
        rows_in = request.rows
        if request.ignore_extra:
            rows_in = [{k: v for k, v in row.items() if k in names} for row in rows_in]
        errors = [
            error for at, row in enumerate(rows_in) for error in fake_data.compare(at, row, names)
        ]
        errors += [
            FieldError(("rows", at, name), "must be a number, a string, a boolean or null")
            for at, row in enumerate(rows_in)
            for name, cell in row.items()
            if not isinstance(cell, str | int | float | None)
            or (isinstance(cell, float) and not math.isfinite(cell))
        ]
        if errors:
            raise ValidationFailed("the rows do not fit the model", errors=errors)
        rows = [{"prediction": "yes", "probabilities": {"yes": 0.75, "no": 0.25}}]
        return Prediction(model.id, rows * len(request.rows), ())

    async def infer(self, who: Principal, request: InferRequest) -> InferResult:
        """Answer a constant for tensors with exactly the names of the signature."""
        self._enter("infer")
        served = await self.served_model(who, request.model)
        if {each.name for each in request.inputs} != {each.name for each in served.inputs}:
            raise ValidationFailed("the tensors do not fit the model", code="bad_tensors")
        rows = request.inputs[0].shape[0]
        found = {
            "prediction": Tensor("prediction", "BYTES", (rows, 1), _YES * rows),
            "probabilities": Tensor(
                "probabilities", "FP32", (rows, 2), struct.pack("<2f", 0.75, 0.25) * rows
            ),
        }
        wanted = request.outputs if request.outputs is not None else list(found)
        if not set(wanted) <= found.keys():
            raise ValidationFailed("the model has no such output", code="bad_tensors")
        return InferResult(served.model, [found[name] for name in wanted])

    async def predict_table(self, who: Principal, request: TableRequest) -> Prediction:
        """Read CSV without quotes, and predict its rows; other formats need a worker."""
        self._enter("predict_table")
        if request.format != "csv":
            raise Unavailable("the fake engine reads no such files", code="predict_worker_failed")
        head, *lines = request.data.decode().split()
        names = head.split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines]
        asked = PredictRequest(request.model, rows, request.ignore_extra)
        return await self.predict(who, asked)

    async def write_table(
        self, who: Principal, columns: Mapping[str, Sequence[Any]], format: TableFormat
    ) -> bytes:
        """Say what a table would hold."""
        self._enter("write_table")
        del who
        return f"{format} {list(columns)}".encode()

    async def served_model(self, who: Principal, model: str) -> ServedModel:
        """Return a model by its signature."""
        self._enter("served_model")
        view = await self.model(who, model)
        inputs = [
            TensorSpec(column["name"], _DATATYPES[column["type"]], (-1, 1))
            for column in view.signature["inputs"]
        ]
        outputs = [
            TensorSpec("prediction", "BYTES", (-1, 1)),
            TensorSpec("probabilities", "FP32", (-1, 2)),
        ]
        return ServedModel(view, inputs, outputs)
