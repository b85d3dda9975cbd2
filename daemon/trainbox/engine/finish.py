"""What a finished step leaves behind: the parity gate and the model's facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.engine import guest_words
from trainbox.engine.artifact_directory.facts import record, tensors
from trainbox.engine.outputs import Collected, OutputRefused
from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.guests import LONGEST_NAME, MOST_METRICS
from trainbox.store.records import NewArtifact, NewModel, StepRecord
from trainbox_sdk.environments import Environment
from trainbox_sdk.tasks import StepPlan

MODEL_KIND = "model"
MOST_TENSORS = 1000
"""Inputs, and outputs, of a model that a user's own code made. Ours has one input per column."""


def require_parity(plan: StepPlan, collected: Collected) -> None:
    """Refuse a model whose guest says that the graph and the native model differ.

    What a user's own code says of itself is no measurement: it is neither believed nor judged.

    Raises:
        OutputRefused: ``parity_failed``.
    """
    if not plan.trusted or not any(output.kind == MODEL_KIND for output in plan.outputs):
        return
    parity = collected.result.get("parity")
    # A task without this check reports nothing; one that reports must say that it passed.
    if parity is not None and _mapping(parity).get("passed") is not True:
        raise OutputRefused(
            "parity_failed", "the exported graph does not predict what the trained model does"
        )


async def new_model(
    store: Store,
    step: StepRecord,
    collected: Collected,
    facts: Mapping[str, Mapping[str, object]],
    environment: Environment | None = None,
    *,
    installed: Sequence[str] = (),
) -> NewModel | None:
    """Return the model row to insert with the step's success, or None without a model output.

    Args:
        store: for the name of the data.
        step: what succeeded.
        collected: what it left.
        facts: what the checks found.
        environment: what it ran in.
        installed: what was installed there, as ``name==version``; the lock's own for nothing.

    Raises:
        OutputRefused: a user's own model has more inputs or outputs than are told.
    """
    artifact = next((a for a in collected.artifacts if a.kind == MODEL_KIND), None)
    if artifact is None:
        return None
    trusted = step.plan.trusted
    result = collected.result if trusted else guest_words.fit(collected.result)
    checked = _mapping(facts.get(artifact.name))
    return NewModel(
        id=new_id("mdl"),
        name=step.job_name or await _default_name(store, step),
        artifact_id=artifact.id,
        signature=_signature(step.plan, artifact, result, facts),
        metrics=_numbers(result.get("metrics")),
        parity=_mapping(result.get("parity")) if trusted else {},
        facts=record(
            result,
            checked if trusted else guest_words.fit(checked),
            backend=step.backend,
            environment=environment,
            reference=step.environment_ref,
            installed=installed,
        ),
    )


async def _default_name(store: Store, step: StepRecord) -> str:
    dataset = await store.datasets.get(step.dataset_id) if step.dataset_id else None
    return f"{dataset.name}-{step.task}" if dataset is not None else step.task


def _signature(
    plan: StepPlan,
    artifact: NewArtifact,
    result: Mapping[str, Any],
    facts: Mapping[str, Mapping[str, object]],
) -> Mapping[str, Any]:
    # What the second sandbox read from the file itself counts, not what the first one claimed: also
    # where it read nothing, as of a pickle.
    if any(output.kind == MODEL_KIND and output.check for output in plan.outputs):
        found = _mapping(facts.get(artifact.name, {}).get("signature"))
        if not plan.trusted:
            _require_few(artifact, found)
        return found
    return _mapping(result.get("signature"))


def _require_few(artifact: NewArtifact, signature: Mapping[str, Any]) -> None:
    for side in ("inputs", "outputs"):
        count = len(tensors(signature, side))
        if count > MOST_TENSORS:
            raise OutputRefused(
                "artifact_refused",
                f"{artifact.name} has {count} {side}, at most {MOST_TENSORS} are served",
            )


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _numbers(value: object) -> dict[str, float]:
    """Return the metrics of a result under the limits that hold for those said on the way."""
    numbers: dict[str, float] = {}
    for said, value_said in _mapping(value).items():
        name, number = guest_words.line(str(said)), _number(value_said)
        if number is not None and len(name) <= LONGEST_NAME and len(numbers) < MOST_METRICS:
            numbers[name] = number
    return numbers


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON knows integers of any size
        return None
    return number if math.isfinite(number) else None
