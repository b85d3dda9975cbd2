"""The column to predict: numbers, or classes of any type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainbox_guest.run import GuestError
from trainbox_plugins.onnx_kit.calendar_features import MISSING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainbox_plugins.tabular.guest.parquet import ParquetFile
    from trainbox_plugins.tabular.guest.score_names import Task

MAX_CLASSES = 200
MIN_ROWS = 10
BINARY = 2
MIN_CLASS_ROWS = 3
"""One row to train on, one to score trials on, one to hold back."""


@dataclass(frozen=True)
class Target:
    """The target of the rows that have one.

    Attributes:
        values: float64 [N] for regression, int64 [N] codes for classes.
        classes: labels [C] of their own type, sorted, in code order; None for regression.
    """

    values: NDArray[Any]
    classes: NDArray[Any] | None

    @property
    def codes(self) -> NDArray[np.int64] | None:
        """Return the class codes, None for regression."""
        return None if self.classes is None else self.values


def read_target(data: ParquetFile, name: str, task: Task) -> tuple[Target, NDArray[np.int64]]:
    """Read the target column.

    Returns:
        The target, and which rows of the file it belongs to.

    Raises:
        GuestError: the column is of a type the task cannot predict, has infinities, too few rows,
            or not the number of classes the task needs.
    """
    if task == "regression":
        return _read_numbers(data, name)
    labels, missing = _read_labels(data, name)
    rows = np.flatnonzero(~missing)
    _check_rows(len(rows), name)
    classes, codes = np.unique(labels[rows], return_inverse=True)
    _check_classes(task, name, classes, np.bincount(codes))
    return Target(codes.astype(np.int64), classes), rows


def _read_numbers(data: ParquetFile, name: str) -> tuple[Target, NDArray[np.int64]]:
    if data.kind(name) != "number":
        raise GuestError(
            "bad_target",
            f"target {name!r} is {data.types[name]}; regression predicts a number",
            "choose a numeric target, or a classification task",
        )
    values = data.doubles(name)
    if np.isinf(values).any():
        count = int(np.isinf(values).sum())
        raise GuestError(
            "bad_target", f"target {name!r} is infinite in {count} rows", "remove these rows"
        )
    rows = np.flatnonzero(~np.isnan(values))
    _check_rows(len(rows), name)
    if (values[rows] == values[rows[0]]).all():
        raise GuestError(
            "constant_target",
            f"target {name!r} is always {values[rows[0]]:g}: there is nothing to learn",
            "choose another target",
        )
    _check_float32(values[rows], name)
    return Target(values[rows], None), rows


def _check_float32(values: NDArray[np.float64], name: str) -> None:
    limits = np.finfo(np.float32)
    rounded = np.clip(values, limits.min, limits.max).astype(np.float32)
    if (rounded == rounded[0]).all():
        raise GuestError(
            "constant_target",
            f"target {name!r} is always {rounded[0]:.9g} once rounded to float32, in which models "
            "are trained: there is nothing to learn",
            "subtract a constant from the target, such as its mean, or rescale it",
        )


def _read_labels(data: ParquetFile, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return labels [N] in the type the graph answers with, and where there is none."""
    kind = data.kind(name)
    if kind == "string":
        coded = data.texts(name)
        texts = coded.texts[coded.codes]
        return texts, texts == ""
    if kind == "datetime":
        seconds = data.seconds(name)
        return seconds, seconds == MISSING
    if kind == "number" and data.is_integer(name):
        return _read_integers(data, name)
    if kind is None:
        raise GuestError(
            "bad_target",
            f"target {name!r} is {data.types[name]}, which cannot be a class label",
            "use text, numbers, truth values or dates as labels",
        )
    doubles = data.doubles(name)
    missing = np.isnan(doubles)
    return (np.nan_to_num(doubles).astype(bool) if kind == "boolean" else doubles), missing


def _read_integers(data: ParquetFile, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    labels, missing = data.integers(name)
    beyond = int((missing & ~np.isnan(data.doubles(name))).sum())
    if beyond:
        raise GuestError(
            "bad_target",
            f"target {name!r} has {beyond} rows beyond 64 bits, too large for a class label",
            "make the labels text",
        )
    return labels, missing


def _check_rows(count: int, name: str) -> None:
    if count < MIN_ROWS:
        raise GuestError(
            "too_few_rows",
            f"{count} rows have a value in target {name!r}; at least {MIN_ROWS} are needed",
            "add rows",
        )


def _check_classes(task: Task, name: str, classes: NDArray[Any], counts: NDArray[np.int64]) -> None:
    found = len(classes)
    shown = ", ".join(repr(label) for label in classes[:5].tolist())
    if task == "binclass" and found != BINARY:
        raise GuestError(
            "wrong_class_count",
            f"target {name!r} has {found} classes ({shown}, ...); binclass needs exactly 2",
            "use multiclass for more classes" if found > BINARY else "add rows of another class",
        )
    if task == "multiclass" and found <= BINARY:
        raise GuestError(
            "wrong_class_count",
            f"target {name!r} has {found} classes ({shown}); multiclass needs at least 3",
            "use binclass for two classes",
        )
    if found > MAX_CLASSES:
        raise GuestError(
            "too_many_classes",
            f"target {name!r} has {found} classes; at most {MAX_CLASSES} can be told apart",
            "is it a number to predict by regression?",
        )
    enough = int((counts >= MIN_CLASS_ROWS).sum())
    if enough < BINARY:
        rare = classes[int(counts.argmin())]
        raise GuestError(
            "class_too_small",
            f"class {_label(rare)} of target {name!r} has {int(counts.min())} rows; at least two "
            f"classes need {MIN_CLASS_ROWS} rows each",
            "add rows of the rare classes",
        )


def _label(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)
