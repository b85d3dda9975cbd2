"""The fake engine's part of :mod:`trainbox_sdk.calls`: predict."""

from trainbox_sdk.artifacts import (
    Prediction,
    PredictRequest,
)
from trainbox_sdk.engine import (
    Principal,
)
from trainbox_sdk.errors import (
    ValidationFailed,
)
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_models import FakeModelCalls


class FakePredictCalls(FakeModelCalls):
    """In memory, by the same contract."""

    async def predict(self, who: Principal, request: PredictRequest) -> Prediction:
        """Answer a constant for rows with exactly the columns of the signature."""
        self._enter("predict")
        model = await self.model(who, request.model)
        names = {column["name"] for column in model.signature["inputs"]}
        errors = [
            error
            for at, row in enumerate(request.rows)
            for error in fake_data.compare(at, row, names)
        ]
        if errors:
            raise ValidationFailed("the rows do not fit the model", errors=errors)
        rows = [{"prediction": "yes", "probabilities": {"yes": 0.75, "no": 0.25}}]
        return Prediction(model.id, rows * len(request.rows), ())
