"""Rows in, rows out: JSON rows checked against a model's signature, and outputs as JSON rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainbox.engine.predict_columns import json_values
from trainbox.engine.predict_values import Input, Wrong, named
from trainbox.workers.predict_wire import Output
from trainbox_sdk.errors import FieldError, TooLarge, Unavailable, ValidationFailed

WHOLE = frozenset({"classes"})
"""Outputs that say the same of all rows."""
LISTED = 100
"""Errors that one refusal lists."""


def to_columns(
    inputs: Sequence[Input], rows: Any, max_rows: int, *, ignore_extra: bool = False
) -> dict[str, Sequence[Any]]:
    """Check rows and return them as columns of JSON values, None where missing.

    Args:
        inputs: the columns there must be.
        rows: one mapping per row.
        max_rows: how many rows are taken.
        ignore_extra: leave other columns out, rather than refuse them.

    Raises:
        ValidationFailed: says row and column, for the first :data:`LISTED` errors.
        TooLarge: more than ``max_rows``.
    """
    if not isinstance(rows, list | tuple) or not rows:
        problem = FieldError(("rows",), "must be a list of at least one row")
        raise ValidationFailed(f"rows {problem.msg}", errors=[problem])
    if len(rows) > max_rows:
        raise TooLarge(
            f"{len(rows):,} rows, at most {max_rows:,} are taken at a time",
            hint="send them in several requests",
        )
    names = {item.name for item in inputs}
    if all(isinstance(row, Mapping) and row.keys() == names for row in rows) or (
        ignore_extra and all(isinstance(row, Mapping) and row.keys() >= names for row in rows)
    ):
        try:
            if len(rows) == 1:
                row = rows[0]
                return {each.name: [each.read(row[each.name])] for each in inputs}
            return {each.name: each.column([row[each.name] for row in rows]) for each in inputs}
        except Wrong:
            pass  # which ones, and what else is wrong, is looked up below
    _refuse(inputs, rows, None if ignore_extra else names)
    raise AssertionError("rows were refused without a reason")


def _refuse(
    inputs: Sequence[Input], rows: Sequence[Mapping[str, Any]], names: set[str] | None
) -> None:
    errors: list[FieldError] = []
    for number, row in enumerate(rows):
        for error in _row_errors(number, row, inputs, names):
            errors.append(error)
            if len(errors) == LISTED:
                raise _refusal(errors)
    raise _refusal(errors)


def _refusal(errors: Sequence[FieldError]) -> ValidationFailed:
    first = errors[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in first.loc[:2])
    column = f" column {first.loc[2]!r}" if len(first.loc) > 2 else ""  # noqa: PLR2004
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ValidationFailed(
        f"{place}{column}: {first.msg}{more}", code="bad_rows", hint=first.hint, errors=errors
    )


def _row_errors(
    number: int, row: Any, inputs: Sequence[Input], names: set[str] | None
) -> Iterator[FieldError]:
    if not isinstance(row, Mapping):
        yield FieldError(("rows", number), f"must be an object, not {named(row)}")
        return
    for item in inputs:
        loc = ("rows", number, item.name)
        if item.name not in row:
            yield FieldError(loc, "is missing", "send null for a missing value")
            continue
        try:
            item.read(row[item.name])
        except Wrong as error:
            yield FieldError(loc, error.message, error.hint)
    if names is None:
        return
    for name in row:
        if name not in names:
            hint = f"the model takes {', '.join(map(repr, sorted(names)))}"
            yield FieldError(
                ("rows", number, str(name)), "is not an input of the model", hint[:1000]
            )


def unseen(inputs: Sequence[Input], columns: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Return a warning for every column with categories that training never saw."""
    warnings = []
    for each in inputs:
        if each.seen is None:
            continue
        strange = set(columns[each.name]) - each.seen - {None, ""}
        if strange:
            count = f"{len(strange)} value{'s' if len(strange) > 1 else ''}"
            example = min(strange)[:80]
            warnings.append(
                f"column {each.name!r}: {count} never seen in training, such as {example!r}"
            )
    return tuple(warnings)


def to_rows(
    outputs: Mapping[str, Output], count: int, classes: Sequence[Any] | None
) -> list[dict[str, Any]]:
    """Return one mapping per row: every output by name; probabilities by label.

    Args:
        outputs: by name. ``classes`` is not per row: it names the columns of ``probabilities``.
        count: how many rows there must be.
        classes: labels for a graph that does not output them.

    Raises:
        Unavailable: an output has not one entry per row.
    """
    labels = json_values(outputs["classes"]) if "classes" in outputs else classes
    columns = {
        name: _column(name, output, count, labels)
        for name, output in outputs.items()
        if name not in WHOLE
    }
    return [
        dict(zip(columns, entries, strict=True)) for entries in zip(*columns.values(), strict=True)
    ]


def _column(name: str, output: Output, count: int, labels: Sequence[Any] | None) -> list[Any]:
    if output.shape[:1] != (count,):
        raise Unavailable(f"output {name!r} has not one entry per row", code="model_unusable")
    entries = json_values(output)
    if name == "probabilities" and labels and output.shape[1:] == (len(labels),):
        keys = [label_key(label) for label in labels]
        if len(keys) == 1:
            return [{keys[0]: entry} for entry in entries]
        return [dict(zip(keys, entry, strict=True)) for entry in entries]
    return entries


def label_key(label: Any) -> str:
    """Return a class label as a JSON object's key: ``true``, ``1``, ``1.5``, ``yes``."""
    return str(label).lower() if isinstance(label, bool) else str(label)
