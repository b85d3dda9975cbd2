"""The words of ``/v1/predict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import Body, Cell, Query


class PredictIn(Body):
    """``POST /v1/models/{ref}/predict``: rows, or columns of equal length."""

    rows: Annotated[list[dict[str, Cell]], Field(min_length=1)] | None = None
    columns: Annotated[dict[str, list[Cell]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> PredictIn:
        if (self.rows is None) == (self.columns is None):
            raise ValueError("send either rows or columns")
        lengths = {len(column) for column in (self.columns or {"": [0]}).values()}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError("columns must be of equal length, with at least one value")
        return self


class PredictQuery(Query):
    """The query of a prediction."""

    ignore_extra: Annotated[
        bool, Field(description="Leave out columns the model does not know, not refuse them.")
    ] = False


class PredictionOut(TypedDict):
    """Rows out."""

    model_id: str
    rows: Sequence[Mapping[str, Any]]
    warnings: Sequence[str]
