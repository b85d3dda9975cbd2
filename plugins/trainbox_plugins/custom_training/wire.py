"""What comes in: bodies and query strings, as pydantic models that refuse what they do not know."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from trainbox_plugins.custom_training.names import ModelType, TaskKind

CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
PRINTABLE = rf"^[^{CONTROL}]*$"
Name = Annotated[
    str,
    # The one in the middle is what no name may lack: neither a space nor a control character,
    # which \S alone would let through.
    Field(
        min_length=1,
        max_length=200,
        pattern=rf"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*$",
    ),
]
Text = Annotated[str, Field(max_length=4000)]
Column = Annotated[str, Field(min_length=1, max_length=255)]
Id = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
Label = Annotated[str, Field(max_length=200, pattern=PRINTABLE)]
Runtime = Literal["python3.10", "python3.11", "python3.12"]
ASSET_TYPES = ("script", "weights", "requirements", "config", "other")
AssetType = Literal["script", "weights", "requirements", "config", "other"]
PRIORITIES = {"low": -10, "normal": 0, "high": 10}


def _whole(value: object) -> object:
    """Read ``2.0`` as JSON Schema does (2020-12 §6.1.1): an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _written_out(value: object) -> object:
    """Refuse seconds since 1970, which JSON Schema has no time in (2020-12 §7.3.1)."""
    try:
        float(str(value))
    except ValueError:
        return value
    raise ValueError("must be a time such as 2026-03-13T16:10:00Z")


Whole = BeforeValidator(_whole)
Moment = Annotated[datetime, BeforeValidator(_written_out)]
Cores = Annotated[int, Whole, Field(ge=1, le=32)]
Gigabytes = Annotated[int, Whole, Field(ge=1, le=128)]
Seconds = Annotated[int, Whole, Field(ge=1, le=86_400)]


class Body(BaseModel):
    """Base of JSON bodies: nothing is guessed, nothing is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Query(BaseModel):
    """Base of query strings: text in, so numbers are parsed; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class NoQuery(Query):
    """A route without query."""


class ConfigIn(Body):
    """What of the data is used for what."""

    target_column: Column | None = None
    feature_columns: Annotated[list[Column], Field(min_length=1, max_length=5000)] | None = None
    algorithm: Label | None = None
    parameters: Annotated[dict[str, Any], Field(max_length=100)] = Field(
        {}, description="Further parameters of an AutoML task, as docs/tabular.md lists them."
    )


Tags = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=60, pattern=PRINTABLE)]],
    Field(max_length=50),
]


class CreateModel(Body):
    """``POST /api/v1/models``."""

    name: Name
    model_type: ModelType
    task_type: TaskKind
    description: Text = ""
    dataset_id: Id | None = None
    tags: Tags = []
    config: ConfigIn = ConfigIn()


class UpdateModel(Body):
    """``PATCH /api/v1/models/{model_id}``: what is left out stays."""

    name: Name | None = None
    description: Text | None = None
    tags: Tags | None = None
    config: ConfigIn | None = None


class LinkDataset(Body):
    """``POST /api/v1/models/{model_id}/dataset``."""

    dataset_id: Id
    validate_schema: bool = True


class Compute(Body):
    """What a run may use; what is left out is the document's default, or all the host has."""

    cpu_cores: Cores | None = Field(None, description="Cores; 2 where nothing is said.")
    memory_gb: Gigabytes | None = Field(None, description="GiB of memory; 8 where nothing is said.")
    gpu: bool = False


class CustomTrain(Body):
    """``POST /api/v1/models/{model_id}/custom/train``."""

    entry_point: Annotated[str, Field(min_length=1, max_length=255)]
    runtime: Runtime
    environment_vars: Annotated[dict[str, str], Field(max_length=200)] = {}
    compute: Compute = Compute()
    run_label: Label | None = None
    timeout_seconds: Seconds = 7200


class Train(Body):
    """``POST /api/v1/models/{model_id}/train``."""

    config_override: ConfigIn | None = None
    run_label: Label | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    timeout_seconds: Seconds = 3600


def _single(value: object) -> object:
    """Refuse in one sentence what the union would in four."""
    if isinstance(value, dict | list):
        raise ValueError("must be a number, a text, true, false or null")  # noqa: TRY004 - pydantic takes no other
    return value


Cell = Annotated[float | int | str | bool | None, BeforeValidator(_single)]
Row = dict[str, Cell]
Rows = Annotated[list[Row], Field(min_length=1, max_length=1000)]


def _how_many(value: object) -> str:
    return "(rows)" if isinstance(value, list) else "(row)"


class TestModel(Body):
    """``POST /api/v1/models/{model_id}/test``: one row of features, or several."""

    __test__ = False  # a name that pytest would collect

    inputs: Annotated[
        Annotated[Row, Tag("(row)")] | Annotated[Rows, Tag("(rows)")], Discriminator(_how_many)
    ]
    version_id: Id | None = None


class PageQuery(Query):
    """Any listing with a cursor."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: str | None = None


class ModelsQuery(PageQuery):
    """``GET /api/v1/models``."""

    name: str | None = None


class RunQuery(Query):
    """Which run."""

    run_id: Id | None = None


class MetricsQuery(RunQuery):
    """``GET …/training-metrics``."""

    metric: str | None = None
    resolution: Annotated[int, Field(ge=2, le=10_000)] = 50


Level = Literal["debug", "info", "warning", "error"]


class LogsQuery(RunQuery):
    """``GET …/training-logs``."""

    level: Level = "info"
    limit: Annotated[int, Field(ge=1, le=5000)] = 500
    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    tail: bool = False


class LogFileQuery(RunQuery):
    """``GET …/training-logs/download``."""

    format: Literal["txt", "json"] = "txt"


class DownloadQuery(Query):
    """``GET /api/v1/models/{model_id}/download``."""

    version_id: Id | None = None
    format: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")] | None = None
    expires_in: Annotated[int, Field(ge=1, le=86_400)] = 3600


class LinkQuery(Query):
    """What a download link carries."""

    expires: Annotated[int, Field(ge=0, le=2**53)]
    signature: Annotated[str, Field(max_length=200)]


class AuditQuery(Query):
    """``GET /api/v1/models/{model_id}/audit-logs``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, populate_by_name=True)

    since: Moment | None = Field(None, alias="from", description="90 days ago by default.")
    until: Moment | None = Field(None, alias="to")
    action: Label | None = None
    actor_id: Label | None = None
    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=200)] = 50
    sort_order: Literal["asc", "desc"] = "desc"

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        for at in (self.since, self.until):
            if at is not None and at.tzinfo is None:
                raise ValueError("a time needs its offset, such as 2026-03-13T16:10:00Z")
        if self.since and self.until and self.until < self.since:
            raise ValueError("'to' lies before 'from'")
        return self


class ActivityQuery(Query):
    """``GET /api/v1/models/{model_id}/activity``."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    event_type: Label | None = None
