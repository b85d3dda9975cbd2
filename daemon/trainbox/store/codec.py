"""SDK values as JSON text and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trainbox_sdk.jobs import Resources
from trainbox_sdk.sound_json import DEEPEST, sound, whole
from trainbox_sdk.tasks import Output, PlanFile, StepPlan


def dump(value: Any) -> str:
    """Return compact JSON; NaN and infinity are refused, JSON has neither.

    Raises:
        ValueError: a number that JSON does not have.
        TypeError: a value that JSON does not have.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)


def load(text: str) -> Any:
    """Return what :func:`dump` wrote, without what no answer could be written with.

    Rows of earlier versions hold a guest's half surrogate pairs and bottomless nesting as it wrote
    them. Both leave marks in the text, so that sound rows are not walked through.
    """
    value = json.loads(text)
    if r"\ud" in text or text.count("[") + text.count("{") > DEEPEST:
        return sound(value)
    return value


def encodable(text: str) -> str:
    """Return text without lone surrogates, which a guest's JSON may hold and UTF-8 may not."""
    return whole(text)


def dump_resources(resources: Resources) -> str:
    """Return resources as JSON."""
    return dump(vars(resources))


def load_resources(text: str) -> Resources:
    """Return resources from JSON."""
    return Resources(**load(text))


def dump_plan(plan: StepPlan) -> str:
    """Return one step's plan as JSON."""
    outputs, files = ([vars(each) for each in some] for some in (plan.outputs, plan.files))
    return dump({**vars(plan), "outputs": outputs, "files": files})


def load_plan(text: str) -> StepPlan:
    """Return one step's plan from JSON."""
    raw = load(text)
    outputs = tuple(Output(**output) for output in raw.pop("outputs"))
    raw["files"] = tuple(PlanFile(**file) for file in raw.get("files", ()))
    for name in ("packages", "after", "requirements"):
        raw[name] = tuple(raw.get(name, ()))
    return StepPlan(**raw, outputs=outputs)


def dump_columns(columns: tuple[Any, ...]) -> str:
    """Return a dataset's columns as JSON."""
    return dump([asdict(column) for column in columns])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")
