"""Datasets: which one is meant, and whether it fits a model."""

from __future__ import annotations

from collections.abc import Sequence

from trainbox_plugins.custom_training.answers import DatasetOut
from trainbox_plugins.custom_training.credentials import SYSTEM, Caller
from trainbox_plugins.custom_training.errors import Fault, PreciseFailure
from trainbox_plugins.custom_training.library import now_stamp
from trainbox_plugins.custom_training.names import stamp
from trainbox_plugins.custom_training.records import DatasetLink, ModelConfig
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.engine import Engine
from trainbox_sdk.errors import Forbidden, NotFound


async def find_dataset(engine: Engine, caller: Caller, dataset_id: str) -> DatasetView:
    """Return a dataset that may be used.

    Raises:
        NotFound: there is none, or it was thrown away.
        Forbidden: it is another organisation's.
    """
    try:
        found = await engine.dataset(caller.who, dataset_id)
    except NotFound:
        await _refuse_foreign(engine, dataset_id)
        raise NotFound(f"There is no dataset {dataset_id[:80]!r}.") from None
    if found.trashed_at is not None:
        raise NotFound(f"Dataset {dataset_id!r} was thrown away.")
    return found


async def _refuse_foreign(engine: Engine, dataset_id: str) -> None:
    """Say that it is someone else's: ids are too long to be guessed (see ADR 0024)."""
    try:
        found = await engine.dataset(SYSTEM, dataset_id)
    except NotFound:
        return
    if found.id == dataset_id:
        raise Forbidden(f"Dataset {dataset_id!r} belongs to another organisation.")


def require_fit(config: ModelConfig, dataset: DatasetView, *where: str) -> None:
    """Refuse a dataset without the columns a model names.

    Raises:
        PreciseFailure: every column that is missing.
    """
    named: Sequence[tuple[str, str]] = [
        *([("target_column", config.target_column)] if config.target_column else []),
        *(("feature_columns", name) for name in config.feature_columns or ()),
    ]
    missing: list[Fault] = [
        {
            "loc": ["body", *where],
            "msg": f"dataset {dataset.name!r} has no column {name!r}, which is among the model's "
            f"{field}",
            "type": "schema_mismatch",
        }
        for field, name in named
        if dataset.column(name) is None
    ]
    if missing:
        raise PreciseFailure(missing)


def link_to(dataset: DatasetView, *, validated: bool) -> DatasetLink:
    """Return the link a model keeps."""
    return DatasetLink(dataset.id, dataset.name, validated, now_stamp())


def shown(dataset: DatasetView) -> DatasetOut:
    """Return a dataset as the dialect shows it."""
    return {
        "dataset_id": dataset.id,
        "name": dataset.name,
        "version": dataset.version,
        "format": dataset.source_format,
        "rows": dataset.rows,
        "columns": [{"name": each.name, "type": each.type} for each in dataset.columns],
        "size_bytes": dataset.bytes,
        "created_at": stamp(dataset.created_at) or "",
    }
