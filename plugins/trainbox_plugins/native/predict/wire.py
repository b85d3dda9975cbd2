"""The words of ``/v1/predict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, SkipValidation, model_validator
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import Body, Cell, Query

LooseCell = Annotated[Cell, SkipValidation]
"""A cell as documented; the engine checks it against the model's signature, by row and column."""


class PredictIn(Body):
    """``POST /v1/models/{ref}/predict``: rows, or columns of equal length."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["rows"]}, {"required": ["columns"]}]}
    )

    rows: Annotated[list[dict[str, LooseCell]], Field(min_length=1, default_factory=list)]
    columns: Annotated[
        dict[str, Annotated[list[LooseCell], Field(min_length=1)]],
        Field(min_length=1, default_factory=dict),
    ]

    @model_validator(mode="after")
    def _one_of_both(self) -> PredictIn:
        if bool(self.rows) == bool(self.columns):
            raise ValueError("send either rows or columns")
        if len({len(column) for column in self.columns.values()}) > 1:
            raise ValueError("columns must be of equal length")
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
