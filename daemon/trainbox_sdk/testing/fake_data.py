"""What the fake engine makes of data: views from bytes and specifications, no state of its own."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from trainbox_sdk.artifacts import ArtifactView, Column, DatasetView, ModelView
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.jobs import AttemptView, JobSpec, JobView, Resources, State, StepView
from trainbox_sdk.tasks import TaskInfo

T = TypeVar("T")

PARAMS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "target": {"type": "string", "description": "Column to predict."},
        "trials": {"type": "integer", "minimum": 1, "maximum": 200, "default": 20},
        "ignore": {"type": "array", "items": {"type": "string"}, "default": []},
        "seed": {"type": "integer", "default": 0},
    },
    "required": ["target"],
    "additionalProperties": False,
}


TASK = TaskInfo(
    name="binclass",
    title="Binary classification",
    description="Predict one of two classes.",
    params_schema=PARAMS_SCHEMA,
    needs_dataset=True,
    resources=Resources(),
    plugin="fake",
)


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def moved(job: JobView, state: State, code: str, data: Mapping[str, Any]) -> JobView:
    """Return the job in another state, its one step with it."""
    attempt = AttemptView(f"{job.id}-1", 1, state, None, code, job.started_at, None, None)
    step = replace(job.steps[0], state=state, attempts=(attempt,) if job.started_at else ())
    started = job.started_at or (now() if state is State.RUNNING else None)
    return replace(
        job,
        state=state,
        reason_code=code,
        reason=str(data.get("reason", "")),
        started_at=started,
        finished_at=now() if state.terminal else None,
        steps=(step,),
    )


def profile(data: bytes) -> tuple[tuple[Column, ...], int]:
    """Return the columns and the number of rows of a CSV."""
    try:
        table = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValidationFailed(f"this is not CSV: {error}", code="bad_csv") from error
    if not table:
        raise ValidationFailed("the CSV is empty", code="empty_data")
    header, *rows = table
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            message = f"row {number} has {len(row)} fields, the header has {len(header)}"
            raise ValidationFailed(message, code="ragged_csv")
    return tuple(_column(name, [row[at] for row in rows]) for at, name in enumerate(header)), len(
        rows
    )


def _column(name: str, values: Sequence[str]) -> Column:
    known = [value for value in values if value]
    number = bool(known) and all(_is_number(value) for value in known)
    return Column(
        name=name,
        type="number" if number else "string",
        sql_type="DOUBLE" if number else "VARCHAR",
        missing=len(values) - len(known),
        distinct=len(set(known)),
        distinct_exact=True,
        min=min(known, default=None),
        max=max(known, default=None),
        examples=tuple(dict.fromkeys(known))[:5],
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def compare(at: int, row: Mapping[str, Any], names: set[str]) -> list[FieldError]:
    """Return what one row has too little or too much."""
    missing = [
        FieldError(("rows", at, name), "missing column") for name in sorted(names - set(row))
    ]
    extra = [FieldError(("rows", at, name), "unknown column") for name in sorted(set(row) - names)]
    return missing + extra


def page(items: Sequence[T], limit: int, after: str | None) -> Page[T]:
    """Cut one page, newest first; the cursor is an offset."""
    newest_first = list(reversed(items))
    try:
        start = int(after) if after else 0
    except ValueError:
        raise ValidationFailed(f"cursor {after!r} is not one of ours", code="bad_cursor") from None
    shown = tuple(newest_first[start : start + limit])
    more = start + limit < len(newest_first)
    return Page(shown, str(start + limit) if more else None)


def is_act(wanted: str | None, act: str) -> bool:
    """Return whether an act is the one asked for, or one of those that ``job.`` stands for."""
    if wanted is None:
        return True
    return act.startswith(wanted) if wanted.endswith(".") else act == wanted


def plain(spec: JobSpec) -> dict[str, Any]:
    """Return the fields of a specification."""
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def spec_errors(spec: JobSpec, dataset: DatasetView | None) -> list[FieldError]:
    """Return what a real intake would refuse in this specification."""
    errors = []
    if spec.task != TASK.name:
        errors.append(FieldError(("task",), f"no task {spec.task!r}", f"Known: {TASK.name}."))
    properties = PARAMS_SCHEMA["properties"]
    unknown = [name for name in spec.params if name not in properties]
    errors.extend(FieldError(("params", name), "unknown field") for name in unknown)
    trials = spec.params.get("trials", 1)
    if not (isinstance(trials, int) and 1 <= trials <= properties["trials"]["maximum"]):
        errors.append(FieldError(("params", "trials"), f"{trials!r} is not within 1..200"))
    target = str(spec.params.get("target"))
    if dataset is None:
        errors.append(FieldError(("dataset_id",), f"no dataset {spec.dataset_id!r}"))
    elif dataset.column(target) is None:
        errors.append(FieldError(("params", "target"), f"no column {target!r}"))
    return errors


def new_job(job_id: str, step_id: str, who: Principal, spec: JobSpec) -> JobView:
    """Return a queued job of one step."""
    return JobView(
        id=job_id,
        name=spec.name,
        task=spec.task,
        state=State.QUEUED,
        reason_code="",
        reason="",
        dataset_id=spec.dataset_id,
        params=spec.params,
        resources=Resources(**dict(spec.resources)),
        priority=spec.priority,
        labels=spec.labels,
        backend=spec.backend or "fake",
        owner=who.id,
        created_at=now(),
        started_at=None,
        finished_at=None,
        progress=0.0,
        eta_s=None,
        metrics={},
        model_id=None,
        steps=(StepView(step_id, "train", State.QUEUED, "", "", (), ()),),
    )


def new_artifact(artifact_id: str, job: JobView, data: bytes) -> ArtifactView:
    """Return the artifact a successful job leaves."""
    return ArtifactView(
        id=artifact_id,
        job_id=job.id,
        step="train",
        name="model.onnx",
        kind="model",
        digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
        bytes=len(data),
        media_type="application/octet-stream",
        created_at=now(),
    )


def model_name(job: JobView, dataset: DatasetView | None) -> str:
    """Return what a job's model is called; as the real engine does where the job has no name."""
    return job.name or (f"{dataset.name}-{job.task}" if dataset else job.task)


def new_model(
    model_id: str, version: int, job: JobView, artifact: ArtifactView, dataset: DatasetView | None
) -> ModelView:
    """Return the model row of a successful job; its inputs are the columns but the target."""
    left_out = {job.params.get("target"), *job.params.get("ignore", ())}
    inputs = [
        {"name": column.name, "type": column.type, "dtype": column.type}
        for column in (dataset.columns if dataset else ())
        if column.name not in left_out
    ]
    return ModelView(
        id=model_id,
        name=model_name(job, dataset),
        version=version,
        job_id=job.id,
        task=job.task,
        artifact_id=artifact.id,
        digest=artifact.digest,
        bytes=artifact.bytes,
        dataset_id=job.dataset_id,
        signature={"inputs": inputs, "outputs": [{"name": "prediction", "type": "string"}]},
        metrics=dict(job.metrics),
        parity={"rows": 0},
        aliases=(),
        created_at=now(),
        owner=job.owner,
    )
