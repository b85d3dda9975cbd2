"""The words of ``/v1/assets``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import PRINTABLE, PageQuery, Query

Kind = Literal["script", "weights", "requirements", "config", "other"]
"""What a custom script's assets are; the engine itself takes any word."""


class UploadQuery(Query):
    """``POST /v1/assets``; the body is the file."""

    filename: Annotated[str, Field(min_length=1, max_length=255, pattern=PRINTABLE)]
    kind: Kind = "other"
    description: Annotated[str, Field(max_length=4096)] = ""


class AssetsQuery(PageQuery):
    """``GET /v1/assets``."""

    kind: Kind | None = None


class AssetOut(TypedDict):
    """An uploaded file; ``kind`` is a word of whoever uploaded it."""

    id: str
    filename: str
    kind: str
    description: str
    digest: str
    bytes: int
    owner: str
    created_at: datetime
