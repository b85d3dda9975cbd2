"""The words of ``/v1/models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import (
    INT64,
    Body,
    Name,
    PageQuery,
    Query,
)

ALIAS = r"^[A-Za-z][A-Za-z0-9._-]{0,63}$"
"""A word that needs no quoting in a URL or a shell, and is never taken for a version."""

Alias = Annotated[str, Field(pattern=ALIAS, description="A letter, then letters, digits, . _ -")]
Version = Annotated[int, Field(ge=1, le=INT64)]
Expected = Annotated[
    int | None,
    Field(ge=0, le=INT64, description="Where it points now, 0 for nowhere; 409 if it does not."),
]
Reason = Annotated[str, Field(max_length=1000, description="Why; kept in the alias's history.")]


class ListQuery(PageQuery):
    """``GET /v1/models``."""

    name: Name | None = None
    task: Name | None = None
    alias: Alias | None = None
    trashed: bool = False
    sort: Literal["-created_at", "created_at", "name", "-name"] = "-created_at"


class AliasIn(Body):
    """``PUT /v1/models/{name}/aliases/{alias}``."""

    version: Version
    reason: Reason = ""
    expected_version: Expected = None


class PromoteIn(AliasIn):
    """``POST /v1/models/{name}/promote``."""

    alias: Alias = "champion"


class RollbackIn(Body):
    """``POST /v1/models/{name}/rollback``."""

    alias: Alias = "champion"
    reason: Reason = ""
    expected_version: Expected = None


class DeleteAliasQuery(Query):
    """``DELETE /v1/models/{name}/aliases/{alias}``."""

    reason: Reason = ""
    expected_version: Expected = None


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
    owner: str
    created_at: datetime
    trashed_at: datetime | None
    purged_at: datetime | None


class AliasOut(TypedDict):
    """An alias, and the version it points at."""

    name: str
    alias: str
    version: int
    model_id: str
    updated_at: datetime


class AliasesOut(TypedDict):
    """Every alias of a name."""

    items: list[AliasOut]


class AliasChangeOut(TypedDict):
    """One move of an alias; a version is null where it pointed nowhere."""

    seq: int
    name: str
    alias: str
    act: Literal["set", "promote", "rollback", "delete"]
    from_version: int | None
    to_version: int | None
    who: str
    reason: str
    at: datetime


class FileOut(TypedDict):
    """One file of a model's directory."""

    path: str
    bytes: int
    digest: str
    media_type: str


class DirectoryOut(TypedDict):
    """A model's directory; ``digest`` is that of its ``manifest.json``."""

    model_id: str
    digest: str
    files: list[FileOut]
