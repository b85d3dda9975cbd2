"""What is wrong with a request, field by field, each with where it is and how to mend it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from trainbox_sdk.calls.jobs import JobChange
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.jobs import JobSpec, Resources

MIB = 1024**2
GIB = 1024**3
MIN_CPUS = 0.01
"""The least a CPU quota can say (CFS: 1 ms of each 100 ms)."""
MAX_CPUS = 4096
MIN_MEMORY_BYTES = 64 * 1024**2
MAX_MEMORY_BYTES = 1024**5
MAX_GPUS = 1024
MIN_TIMEOUT_S = 0.1
MAX_TIMEOUT_S = 7 * 86_400
MAX_PRIORITY = 100
MAX_NAME = 128
MAX_LABELS = 64
MAX_PARAMS_BYTES = 256 * 1024


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known words."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names[:20])}" if names else "none is known"


def field_errors(error: ValidationError, prefix: tuple[str, ...]) -> list[FieldError]:
    """Return pydantic's complaints as field errors under a prefix."""
    return [
        FieldError((*prefix, *problem["loc"]), problem["msg"], _hint(problem))
        for problem in error.errors(include_url=False)
    ]


BOUNDS = {
    "ge": "at least",
    "gt": "more than",
    "le": "at most",
    "lt": "less than",
    "min_length": "no shorter than",
    "max_length": "no longer than",
}


def _hint(problem: Mapping[str, Any]) -> str:
    context = problem.get("ctx") or {}
    if problem["type"] == "extra_forbidden":
        return "remove it, or check its spelling"
    if problem["type"] == "missing":
        return "give it"
    if "expected" in context:
        return f"one of: {context['expected']}"
    bounds = [f"{words} {context[key]}" for key, words in BOUNDS.items() if key in context]
    return f"must be {' and '.join(bounds)}" if bounds else ""


def params_errors(error: ValidationError, known: Iterable[str]) -> list[FieldError]:
    """Return pydantic's complaints about a task's parameters; a misspelt one is given its name."""
    return [_spelling(problem, known) for problem in field_errors(error, ("params",))]


def _spelling(problem: FieldError, known: Iterable[str]) -> FieldError:
    inner = len(problem.loc) != 2  # noqa: PLR2004 - "params" and a field of its own
    if inner or "Extra inputs" not in problem.msg:
        return problem
    name = str(problem.loc[-1])
    return replace(problem, msg=f"unknown field {name!r}", hint=did_you_mean(name, known))


def refuse(errors: Iterable[FieldError]) -> None:
    """Raise one error that holds all of them, if there are any.

    Raises:
        ValidationFailed: there are.
    """
    found = list(errors)
    if found:
        raise failed(found)


def spec_errors(spec: JobSpec) -> Iterator[FieldError]:
    """Yield what is wrong with a specification, whatever the task."""
    yield from _priority_errors(spec.priority)
    yield from _name_errors(spec.name)
    yield from _label_errors(spec.labels)
    yield from _document_errors(spec.params)


def change_errors(change: JobChange) -> Iterator[FieldError]:
    """Yield what is wrong with a change of a job."""
    if change.priority is not None:
        yield from _priority_errors(change.priority)
    if change.labels is not None:
        yield from _label_errors(change.labels)


def _priority_errors(priority: int) -> Iterator[FieldError]:
    if not isinstance(priority, int) or abs(priority) > MAX_PRIORITY:
        range_ = f"-{MAX_PRIORITY} to {MAX_PRIORITY}"
        yield FieldError(("priority",), "out of range", f"give a whole number from {range_}")


def _name_errors(name: str) -> Iterator[FieldError]:
    if len(name) > MAX_NAME or not name.isprintable():
        hint = f"give at most {MAX_NAME} printable characters"
        yield FieldError(("name",), "too long, or not printable", hint)
    if name in {".", ".."}:
        yield FieldError(("name",), "is a step in a path, which no URL can hold", "take a word")
    if set(name) & {"@", ":"}:
        # The model gets this name, and is referred to as name:version and name@alias.
        yield FieldError(("name",), "holds @ or :", "take another character")


def _label_errors(labels: Mapping[str, str]) -> Iterator[FieldError]:
    if len(labels) > MAX_LABELS:
        yield FieldError(("labels",), f"{len(labels)} labels", f"give at most {MAX_LABELS}")
        return
    for key, value in labels.items():
        if (
            not (isinstance(key, str) and isinstance(value, str))
            or max(len(key), len(value)) > MAX_NAME
        ):
            hint = f"key and value are texts of at most {MAX_NAME} characters"
            yield FieldError(("labels", str(key)[:MAX_NAME]), "not a short text", hint)
        elif not key or not (key + value).isprintable():
            hint = "give a key, and leave control characters out of both"
            yield FieldError(("labels", key), "empty, or not printable", hint)


def _document_errors(params: Mapping[str, Any]) -> Iterator[FieldError]:
    try:
        size = len(json.dumps(dict(params), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        yield FieldError(("params",), f"not JSON: {error}", "JSON has no NaN and no infinity")
        return
    if size > MAX_PARAMS_BYTES:
        hint = f"give at most {MAX_PARAMS_BYTES} bytes; data belongs in a dataset"
        yield FieldError(("params",), f"{size} bytes", hint)


def amount(name: str, value: float) -> str:
    """Return a quantity of a resource as people say it: bytes in MiB or GiB, the rest as it is."""
    if not name.endswith("_bytes"):
        return f"{value:g}"
    if value < GIB:
        return f"{value / MIB:g} MiB"
    return f"{value / GIB:.4g} GiB ({value:.0f})"


def resource_errors(wanted: Resources) -> list[FieldError]:
    """Return what is out of range, whatever the backend has."""
    limits: list[tuple[str, float, float, float]] = [
        ("cpus", wanted.cpus, MIN_CPUS, MAX_CPUS),
        ("memory_bytes", wanted.memory_bytes, MIN_MEMORY_BYTES, MAX_MEMORY_BYTES),
        ("gpus", wanted.gpus, 0, MAX_GPUS),
        ("timeout_s", wanted.timeout_s, MIN_TIMEOUT_S, MAX_TIMEOUT_S),
    ]
    # Written so that NaN, which is in no order, is out of bounds too.
    return [
        FieldError(
            ("resources", name),
            f"{given!s:.40} is out of range",
            f"{amount(name, low)} to {amount(name, high)}",
        )
        for name, given, low, high in limits
        if not low <= given <= high
    ]


def task_resource_errors(
    task: str, wanted: Resources, most: Resources | None
) -> Iterator[FieldError]:
    """Yield what is more than a job of this task may have."""
    for name, limit in vars(most).items() if most is not None else ():
        given = getattr(wanted, name)
        if given > limit:
            yield FieldError(
                ("resources", name),
                f"{amount(name, given)} is more than a {task} job may have",
                f"ask for at most {amount(name, limit)}",
            )


def failed(errors: Sequence[FieldError]) -> ValidationFailed:
    """Return the one error that tells of all of these."""
    first = errors[0]
    where = ".".join(str(part) for part in first.loc)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ValidationFailed(f"{where}: {first.msg}{more}", hint=first.hint, errors=errors)
