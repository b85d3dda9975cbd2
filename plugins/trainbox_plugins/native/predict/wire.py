"""The words of ``/v1/predict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import (
    Body,
    Cell,
)


class PredictIn(Body):
    """``POST /v1/models/{ref}/predict``."""

    rows: Annotated[list[dict[str, Cell]], Field(min_length=1)]


class PredictionOut(TypedDict):
    """Rows out."""

    model_id: str
    rows: Sequence[Mapping[str, Any]]
    warnings: Sequence[str]
