"""What the profile of a dataset says against its feature columns, before a job is queued.

The guest looks at the values and has the last word; what is refused here, it would refuse too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from trainbox_plugins.tabular.params import TabularParams
from trainbox_sdk.artifacts import Column, DatasetView
from trainbox_sdk.errors import FieldError

RESERVED = frozenset({"prediction", "probabilities", "classes"})
LARGEST_FLOAT32 = 3.4028234663852886e38
IDENTIFIER_ROWS = 50
"""From so many rows on, text that differs in every row is an identifier."""


def feature_errors(params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
    """Yield what is wrong with the feature columns; every column named is in the dataset."""
    yield from _reserved_errors(params, dataset)
    columns = _features(params, dataset)
    yield from _size_errors(columns)
    varying = [column for column in columns if _varies(column)]
    if not varying:
        yield FieldError(
            ("params", "features"),
            "no feature column is left that varies",
            "add columns, or ignore fewer",
        )
    elif params.features is None and all(
        _identifies(column, params, dataset) for column in varying
    ):
        names = ", ".join(repr(column.name) for column in varying[:5])
        yield FieldError(
            ("params", "features"),
            f"no feature column is left: every row has another text in {names}, as an identifier",
            "add columns that vary, or list these in features to use them",
        )


def largest(column: Column) -> float:
    """Return the greatest size of a column's numbers, 0 if it has none."""
    return max((abs(value) for value in _extremes(column)), default=0.0)


def one_in_float32(column: Column) -> bool:
    """Return whether a column's numbers are one and the same once rounded to float32."""
    extremes = _extremes(column)
    if len(extremes) < 2 or not largest(column) <= LARGEST_FLOAT32:  # noqa: PLR2004 - min and max
        return False  # an extreme that JSON cannot say (an infinity) is not known here
    return len({struct.pack("f", value) for value in extremes}) == 1


def _extremes(column: Column) -> list[float]:
    if column.type != "number":
        return []
    return [float(value) for value in (column.min, column.max) if isinstance(value, int | float)]


def _features(params: TabularParams, dataset: DatasetView) -> Sequence[Column]:
    taken = {params.target, params.sample_weight, *params.ignore}
    if params.features is None:
        return [column for column in dataset.columns if column.name not in taken]
    wanted = set(params.features)
    return [column for column in dataset.columns if column.name in wanted]


def _varies(column: Column) -> bool:
    if column.distinct == 0:
        return False
    # A gap is a value of its own to the model.
    return column.missing > 0 or (column.distinct > 1 and not one_in_float32(column))


def _identifies(column: Column, params: TabularParams, dataset: DatasetView) -> bool:
    """Return whether the guest takes a column for an identifier (its gaps are the empty text)."""
    target = dataset.column(params.target)
    assert target is not None, "unknown columns are refused before"
    if column.type != "string" or not column.distinct_exact:
        return False
    if dataset.rows - target.missing < IDENTIFIER_ROWS or (column.missing and column.min == ""):
        return False
    return column.distinct + min(column.missing, 1) == dataset.rows


def _size_errors(columns: Sequence[Column]) -> Iterator[FieldError]:
    for column in columns:
        size = largest(column)
        if size > LARGEST_FLOAT32:
            yield FieldError(
                ("params", "features"),
                f"column {column.name!r} has values up to {size:g}, beyond float32's 3.4e38",
                "rescale the column, or put it in ignore",
            )


def _reserved_errors(params: TabularParams, dataset: DatasetView) -> Iterator[FieldError]:
    used = {column.name for column in _features(params, dataset)}
    for name in sorted(used & RESERVED):
        yield FieldError(
            ("params", "features"),
            f"column {name!r} has the name of an output of the model",
            "rename the column, or put it in ignore",
        )
