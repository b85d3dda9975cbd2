"""The words of ``/v1/datasets``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import (
    Query,
)


class UploadQuery(Query):
    """``POST /v1/datasets``."""

    name: Annotated[str, Field(max_length=200)] = ""
    format: Literal["csv", "parquet"] | None = None


class ColumnOut(TypedDict):
    """One column of a dataset."""

    name: str
    type: str
    sql_type: str
    missing: int
    distinct: int
    distinct_exact: bool
    min: Any
    max: Any
    examples: Sequence[Any]


class DatasetOut(TypedDict):
    """A dataset."""

    id: str
    name: str
    digest: str
    source_format: str
    bytes: int
    rows: int
    columns: list[ColumnOut]
    warnings: Sequence[str]
    owner: str
    created_at: datetime
