"""The words of ``/v1/models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import (
    INT64,
    Body,
)


class AliasIn(Body):
    """``PUT /v1/models/{name}/aliases/{alias}``."""

    version: Annotated[int, Field(ge=1, le=INT64)]


class ModelOut(TypedDict):
    """One version of a model."""

    id: str
    name: str
    version: int
    job_id: str
    task: str
    artifact_id: str
    digest: str
    bytes: int
    dataset_id: str | None
    signature: Mapping[str, Any]
    metrics: Mapping[str, float]
    parity: Mapping[str, Any]
    aliases: Sequence[str]
    created_at: datetime
