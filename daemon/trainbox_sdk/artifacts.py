"""Datasets, artifacts, models and predictions, by content hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

ColumnType = Literal["number", "boolean", "string", "datetime"]


@dataclass(frozen=True)
class Column:
    """One column of a dataset and what is known of its values.

    Attributes:
        name: as in the data.
        type: the type the task sees.
        sql_type: the type in the stored Parquet, such as ``BIGINT``.
        missing: number of nulls.
        distinct: number of distinct values that are not null.
        distinct_exact: whether ``distinct`` was counted rather than estimated.
        min, max: extremes as JSON scalars (ISO 8601 text for datetimes); None for all-null columns.
        examples: up to five distinct values as JSON scalars.
    """

    name: str
    type: ColumnType
    sql_type: str
    missing: int
    distinct: int
    distinct_exact: bool
    min: Any = None
    max: Any = None
    examples: tuple[Any, ...] = ()


@dataclass(frozen=True)
class DatasetView:
    """One version of a named dataset: normalised to Parquet, content-addressed.

    Attributes:
        digest: ``sha256:<hex>`` of the Parquet file.
        source_format: what was uploaded: ``csv``, ``jsonl``, ``parquet`` or ``arrow``.
        bytes: size of the Parquet file.
        warnings: what was read in a way that may surprise, such as a column of numbers that a few
            words turned into text.
        version: counted from 1 for each owner's name; never used twice.
        source_digest: ``sha256:<hex>`` of what was uploaded; empty where it was not kept.
        trashed_at: when it was thrown away, None for one in use.
        purged_at: when its bytes were given up for good; only name, schema and digest remain.
    """

    id: str
    name: str
    digest: str
    source_format: str
    bytes: int
    rows: int
    columns: tuple[Column, ...]
    owner: str
    created_at: datetime
    warnings: tuple[str, ...] = ()
    version: int = 1
    source_digest: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    trashed_at: datetime | None = None
    purged_at: datetime | None = None

    def column(self, name: str) -> Column | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class ArtifactView:
    """One file a step left behind.

    Attributes:
        name: declared output name, such as ``model.onnx``.
        digest: ``sha256:<hex>`` of the bytes.
    """

    id: str
    job_id: str
    step: str
    name: str
    kind: str
    digest: str
    bytes: int
    media_type: str
    created_at: datetime


@dataclass(frozen=True)
class ArtifactFile:
    """An artifact ready to be sent."""

    view: ArtifactView
    path: Path


@dataclass(frozen=True)
class ModelView:
    """One version of a named model.

    Attributes:
        signature: ``inputs`` and ``outputs``, each a list of ``{name, type, dtype}``.
        metrics: honest hold-out metrics by name.
        parity: the report of the parity check, as the sandbox wrote it.
        aliases: names that point at this version, such as ``champion``.
        owner: whose it is; a name means nothing without it.
        trashed_at: when it was thrown away, None for a version in use.
        purged_at: when its bytes were given up for good.
    """

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
    aliases: tuple[str, ...]
    created_at: datetime
    owner: str = ""
    trashed_at: datetime | None = None
    purged_at: datetime | None = None


@dataclass(frozen=True)
class PredictRequest:
    """Rows to predict: one mapping per row, keys are the signature's input names.

    Attributes:
        ignore_extra: leave out columns the model does not know, rather than refuse them.
    """

    model: str
    rows: Sequence[Mapping[str, Any]]
    ignore_extra: bool = False


@dataclass(frozen=True)
class Prediction:
    """Rows out, in the order of the rows in.

    Attributes:
        rows: one mapping per row: ``prediction``, and for classes ``probabilities`` by label.
        warnings: what was accepted and may surprise, such as categories never seen in training.
    """

    model_id: str
    rows: Sequence[Mapping[str, Any]]
    warnings: tuple[str, ...] = field(default=())
