"""From a Parquet file to features, target and weights, with a word about everything left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainbox_guest.run import GuestError
from trainbox_plugins.onnx_kit.calendar_features import MISSING
from trainbox_plugins.onnx_kit.columns import Column
from trainbox_plugins.onnx_kit.pipeline import OUTPUT_NAMES
from trainbox_plugins.tabular.guest.frame import Coded, Frame, Values
from trainbox_plugins.tabular.guest.target import Target, read_target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainbox_plugins.tabular.guest.parquet import ParquetFile
    from trainbox_plugins.tabular.guest.settings import Settings

Say = Callable[..., None]
"""Tells a person a text; takes ``level`` as well."""

_EXACT_INTEGER = 2**24  # float32 holds every whole number up to here
_IDENTIFIER_ROWS = 50
_COARSE = 1e-3
"""A step of float32 over this share of the target's spread is worth a warning."""
_SAME = "always the same"
_ROUNDED = {
    "number": "once rounded to float32 (subtract a constant to use it)",
    "datetime": "to whole seconds (make it a number to use it)",
}


@dataclass(frozen=True)
class Dataset:
    """Everything training needs.

    Attributes:
        weight: float64 [N], ones if there is no weight column.
        dropped_rows: rows of the file without a target.
        dropped_columns: column name to the reason it is no feature.
    """

    frame: Frame
    target: Target
    weight: NDArray[np.float64]
    dropped_rows: int
    dropped_columns: dict[str, str]

    def __len__(self) -> int:
        """Return N."""
        return len(self.weight)


def read_dataset(data: ParquetFile, settings: Settings, say: Say) -> Dataset:
    """Read target, weights and features.

    Raises:
        GuestError: a column is not there or has an impossible type, the target does not suit the
            task, weights are negative or missing, or no feature is left.
    """
    names = _feature_names(data, settings)
    target, rows = read_target(data, settings.target, settings.task)
    total = data.row_count()
    if total > len(rows):
        say(f"{total - len(rows)} of {total} rows have no value in {settings.target!r}: left out")
    _warn_of_coarse_target(settings.target, target, say)
    weight = _read_weight(data, settings.sample_weight, rows)
    frame, dropped = _read_features(data, names, rows, explicit=settings.features is not None)
    for name, reason in dropped.items():
        say(f"column {name!r} is no feature: {reason}")
    if not frame.columns:
        raise GuestError(
            "no_usable_features",
            "no feature column is left: " + "; ".join(f"{n}: {r}" for n, r in dropped.items()),
            "add columns that vary",
        )
    _warn_of_rounding(data, frame, rows, say)
    return Dataset(frame, target, weight, total - len(rows), dropped)


def _feature_names(data: ParquetFile, settings: Settings) -> list[str]:
    wanted = [settings.target, *(settings.features or []), *settings.ignore]
    wanted += [settings.sample_weight] if settings.sample_weight else []
    absent = [name for name in wanted if name not in data.types]
    if absent:
        raise GuestError(
            "unknown_column",
            f"the dataset has no column {absent[0]!r}",
            "columns: " + ", ".join(list(data.types)[:50]),
        )
    taken = {settings.target, settings.sample_weight, *settings.ignore}
    names = [n for n in settings.features or data.types if n not in taken]
    clash = [name for name in names if name in OUTPUT_NAMES or not name]
    if clash:
        raise GuestError(
            "reserved_column",
            f"column {clash[0]!r} has the name of an output of the model",
            f"rename or ignore it; reserved: {', '.join(OUTPUT_NAMES)} and the empty name",
        )
    return names


def _read_weight(
    data: ParquetFile, name: str | None, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    if name is None:
        return np.ones(len(rows))
    if data.kind(name) != "number":
        raise GuestError("bad_weight", f"weight column {name!r} is not numeric", "use numbers")
    weight = data.doubles(name)[rows]
    wrong = int((~np.isfinite(weight) | (weight < 0)).sum())
    if wrong or weight.sum() <= 0:
        problem = f"missing, negative or infinite in {wrong} rows" if wrong else "zero everywhere"
        raise GuestError(
            "bad_weight", f"weight column {name!r} is {problem}", "weights are numbers, 0 or more"
        )
    return weight


def _read_features(
    data: ParquetFile, names: list[str], rows: NDArray[np.int64], *, explicit: bool
) -> tuple[Frame, dict[str, str]]:
    columns: list[Column] = []
    values: dict[str, Values] = {}
    dropped: dict[str, str] = {}
    for name in names:
        kind = data.kind(name)
        if kind is None:
            dropped[name] = f"type {data.types[name]} is not supported"
            continue
        column = Column(name, kind)
        read = _read_column(data, column, rows)
        reason = _useless(read, explicit=explicit)
        if reason == _SAME and data.differs(name, rows):
            reason += " " + _ROUNDED[column.kind]
        if reason is not None:
            dropped[name] = reason
            continue
        columns.append(column)
        values[name] = read
    return Frame(tuple(columns), values), dropped


def _read_column(data: ParquetFile, column: Column, rows: NDArray[np.int64]) -> Values:
    if column.kind == "string":
        coded = data.texts(column.name).take(rows)
        used, codes = np.unique(coded.codes, return_inverse=True)
        return Coded(codes.astype(np.int32), coded.texts[used])
    if column.kind == "datetime":
        return data.seconds(column.name)[rows]
    return data.floats(column.name)[rows]


def _useless(values: Values, *, explicit: bool) -> str | None:
    """Return why a column cannot help, or None."""
    if isinstance(values, Coded):
        if len(values.texts) == 1:
            return "always missing" if "" in values.texts else _SAME
        count = len(values.codes)
        if not explicit and count >= _IDENTIFIER_ROWS and len(values.texts) == count:
            return "every row has another text, as an identifier (list it in features to use it)"
        return None
    gone = values == MISSING if values.dtype == np.int64 else np.isnan(values)
    if gone.all():
        return "always missing"
    return _SAME if not gone.any() and values.min() == values.max() else None


def _warn_of_rounding(data: ParquetFile, frame: Frame, rows: NDArray[np.int64], say: Say) -> None:
    for column in frame.columns:
        values: Any = frame.values[column.name]
        if column.kind != "number" or not data.is_integer(column.name):
            continue
        if float(np.nanmax(np.abs(values))) <= _EXACT_INTEGER:
            continue
        exact = len(np.unique(data.doubles(column.name)[rows]))
        rounded = len(np.unique(values))
        if rounded < exact:
            say(
                f"column {column.name!r} has whole numbers above 2^24; as float32 its {exact} "
                f"distinct values become {rounded}. Ignore an identifier, or make it text"
            )


def _warn_of_coarse_target(name: str, target: Target, say: Say) -> None:
    """Warn of a number so far from zero that float32, in which models answer, blurs it."""
    if target.classes is not None:
        return
    values = target.values
    step = float(np.spacing(np.float32(np.abs(values).max())))
    if step <= _COARSE * float(np.std(values)):
        return
    exact, rounded = len(np.unique(values)), len(np.unique(values.astype(np.float32)))
    if rounded < exact:
        say(
            f"target {name!r} is large for its spread: as float32, in which the model answers, it "
            f"moves in steps of {step:g} and its {exact} distinct values become {rounded}. Take "
            f"a constant off, such as {float(np.median(values)):.10g}, and add it to predictions",
            level="warning",
        )
