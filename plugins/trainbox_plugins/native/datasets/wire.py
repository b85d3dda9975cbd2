"""The words of ``/v1/datasets``, ``/v1/uploads`` and ``/v1/trash``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, Json
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.wire import PRINTABLE, YEAR_S, Body, PageQuery, Query
from trainbox_sdk.problems import FaultProblem, FieldProblem
from trainbox_sdk.profiles import DatasetProfile, TargetProfile

Format = Literal["csv", "jsonl", "parquet", "arrow"]
ColumnType = Literal["number", "boolean", "string", "datetime"]
Sort = Literal["created", "-created", "name", "-name", "rows", "-rows", "bytes", "-bytes"]
DatasetName = Annotated[str, Field(max_length=200, pattern=PRINTABLE)]
Description = Annotated[str, Field(max_length=4096)]
Labels = Annotated[dict[str, str], Field(max_length=32)]
Types = Annotated[dict[str, ColumnType], Field(max_length=4096)]


class UploadQuery(Query):
    """``POST /v1/datasets``; ``types`` and ``labels`` are JSON objects."""

    name: DatasetName = ""
    format: Format | None = None
    description: Description = ""
    types: Json[Types] | None = None
    labels: Json[Labels] | None = None


class DatasetsQuery(PageQuery):
    """``GET /v1/datasets``."""

    name: DatasetName | None = None
    format: Format | None = None
    trashed: bool = False
    sort: Sort = "-created"


class ImportBody(Body):
    """``POST /v1/datasets/import``; without a format, the file's name says it."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    name: DatasetName = ""
    format: Format | None = None
    description: Description = ""
    types: Types = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


class DescribeBody(Body):
    """``PATCH /v1/datasets/{id}``; what is left out stays."""

    description: Description | None = None
    labels: Labels | None = None


class ProfileQuery(Query):
    """``GET /v1/datasets/{id}/profile``."""

    target: Annotated[str, Field(min_length=1, max_length=256)] | None = None


class PreviewQuery(Query):
    """``GET /v1/datasets/{id}/preview``."""

    rows: Annotated[int, Field(ge=1, le=1000)] = 20


class ContentQuery(Query):
    """``GET /v1/datasets/{id}/content``."""

    format: Literal["parquet", "csv"] = "parquet"


class PurgeBody(Body):
    """``POST /v1/trash/purge``."""

    older_than_s: Annotated[float, Field(ge=0, le=100 * YEAR_S)] = 0.0
    dry_run: bool = False


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
    """One version of a named dataset."""

    id: str
    name: str
    version: int
    digest: str
    source_format: str
    source_digest: str
    bytes: int
    rows: int
    columns: list[ColumnOut]
    warnings: Sequence[str]
    description: str
    labels: Mapping[str, str]
    owner: str
    created_at: datetime
    trashed_at: datetime | None
    purged_at: datetime | None


class VersionsOut(TypedDict):
    """All versions of a name, newest first."""

    items: list[DatasetOut]


class ProfileOut(TypedDict):
    """What reading found out; ``target`` where one was asked for."""

    profile: DatasetProfile
    target: TargetProfile | None


class PreviewOut(TypedDict):
    """The first rows; cells in the order of ``columns``."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class FailureOut(TypedDict):
    """Why an upload made no dataset."""

    code: str
    message: str
    hint: str
    errors: list[FieldProblem]
    faults: list[FaultProblem]


class UploadOut(TypedDict):
    """A resumable upload."""

    id: str
    name: str
    format: str
    filename: str
    bytes: int
    received: int
    state: Literal["receiving", "ingesting", "done", "failed"]
    dataset_id: str | None
    replayed: bool
    failure: FailureOut | None
    created_at: datetime
    expires_at: datetime


class PurgedOut(TypedDict):
    """A thing whose bytes were given up."""

    kind: str
    id: str
    name: str
    version: int
    digest: str


class KeptOut(TypedDict):
    """A thing in the trash that was left alone."""

    kind: str
    id: str
    name: str
    version: int
    reason: str


class FreedOut(TypedDict):
    """A file that was deleted."""

    what: str
    path: str
    bytes: int


class PurgeOut(TypedDict):
    """What a purge did, or would do."""

    dry_run: bool
    freed_bytes: int
    purged: list[PurgedOut]
    kept: list[KeptOut]
    files: list[FreedOut]
