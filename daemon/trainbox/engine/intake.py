"""Takes a job in: authorise, validate, admit, plan; then one transaction puts it on disk.

Nothing doomed is queued: whatever can be known before a sandbox runs is checked here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from trainbox.engine.access import Access
from trainbox.engine.health import Pulse
from trainbox.ids import new_id
from trainbox.registry import Registry
from trainbox.store import Store
from trainbox.store.records import NewJob
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.engine import Principal, Submission
from trainbox_sdk.errors import FieldError, Forbidden, StorageFull, Unavailable, ValidationFailed
from trainbox_sdk.jobs import JobSpec, Resources
from trainbox_sdk.tasks import Plan, TaskType

MIN_MEMORY_BYTES = 64 * 1024**2
MAX_TIMEOUT_S = 7 * 86_400
MAX_PRIORITY = 100
MAX_PARAMS_BYTES = 256 * 1024


class Intake:
    """Turns a caller's specification into a stored job.

    Args:
        admit: the plugins' decision: why the job is refused, or None.
        default_backend: ``auto`` or a name.
        state_dir: whose free space is watched.
        free_bytes_floor: below it nothing is accepted.
    """

    def __init__(
        self,
        store: Store,
        catalogue: Registry,
        access: Access,
        pulse: Pulse,
        *,
        admit: Callable[[Principal, JobSpec], str | None],
        default_backend: str,
        state_dir: Path,
        free_bytes_floor: int,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._access = access
        self._pulse = pulse
        self._admit = admit
        self._default_backend = default_backend
        self._state_dir = state_dir
        self._free_bytes_floor = free_bytes_floor

    async def submit(
        self, who: Principal, spec: JobSpec, idempotency_key: str | None
    ) -> Submission:
        """Validate everything, then put the job on disk.

        Raises:
            ValidationFailed: see :meth:`trainbox_sdk.engine.Engine.submit`.
            Forbidden: a plugin refused it.
            StorageFull: too little space is left.
        """
        self._access.require(who, "submit")
        task = self._task(spec)
        dataset = await self._dataset(who, task, spec)
        params = _params(task, spec.params)
        backend = await self._backend(spec)
        resources = await self._resources(task, spec, backend)
        errors = [*_spec_errors(spec), *task.validate(params, dataset)]
        if errors:
            raise _failed(errors)
        refusal = self._admit(who, spec)
        if refusal:
            raise Forbidden(refusal, code="not_admitted")
        self._require_space()
        plan = task.plan(params, dataset)
        self._require_plan(plan)
        clean = replace(
            spec, params=params.model_dump(mode="json"), dataset_id=dataset.id if dataset else None
        )
        new = NewJob(
            id=new_id("job"),
            owner=who.id,
            spec=clean,
            resources=resources,
            backend=backend,
            steps=plan.steps,
            idempotency_key=idempotency_key,
            request_digest=_digest(spec),
        )
        inserted = await self._store.jobs.insert(new, audit=who.id)
        return Submission(inserted.job, inserted.replayed)

    # -- one check each -----------------------------------------------------------------------

    def _task(self, spec: JobSpec) -> TaskType:
        task = self._catalogue.tasks.get(spec.task)
        if task is None:
            raise _failed(
                [
                    FieldError(
                        ("task",),
                        f"unknown task {spec.task!r}",
                        did_you_mean(spec.task, self._catalogue.tasks),
                    )
                ]
            )
        return task

    async def _dataset(self, who: Principal, task: TaskType, spec: JobSpec) -> DatasetView | None:
        if spec.dataset_id is None:
            if task.needs_dataset:
                hint = "upload one with POST /v1/datasets and give its id"
                raise _failed([FieldError(("dataset",), f"{spec.task} needs a dataset", hint)])
            return None
        dataset = await self._access.find_dataset(who, spec.dataset_id)
        if dataset is None:
            raise _failed(
                [
                    FieldError(
                        ("dataset",),
                        f"no dataset {spec.dataset_id!r}",
                        "list yours with GET /v1/datasets",
                    )
                ]
            )
        return dataset

    async def _backend(self, spec: JobSpec) -> str:
        wanted = spec.backend or (
            None if self._default_backend == "auto" else self._default_backend
        )
        if wanted is None:
            # Where none answers now the job still waits for the first: the store takes it.
            wanted = await self._pulse.first_healthy() or next(iter(self._catalogue.backends), None)
        if wanted is None:
            raise Unavailable("no backend is loaded", hint="list one in plugins.toml")
        if wanted not in self._catalogue.backends:
            hint = did_you_mean(wanted, self._catalogue.backends)
            raise _failed([FieldError(("backend",), f"unknown backend {wanted!r}", hint)])
        return wanted

    async def _resources(self, task: TaskType, spec: JobSpec, backend: str) -> Resources:
        known = {field.name for field in fields(Resources)}
        errors = [
            FieldError(("resources", name), "unknown field", did_you_mean(name, known))
            for name in spec.resources
            if name not in known
        ]
        if errors:
            raise _failed(errors)
        try:
            merged = TypeAdapter(Resources).validate_python(
                {**asdict(task.resources), **spec.resources}, strict=False
            )
        except ValidationError as error:
            raise _failed(field_errors(error, ("resources",))) from error
        errors = [*_bounds(merged), *await self._over_capacity(merged, backend)]
        if errors:
            raise _failed(errors)
        return merged

    async def _over_capacity(self, wanted: Resources, backend: str) -> list[FieldError]:
        try:
            room = await self._catalogue.backends[backend].capacity()
        except Unavailable:
            return []  # the scheduler looks again, and says so while the job waits
        over = [
            ("cpus", wanted.cpus, room.cpus),
            ("memory_bytes", wanted.memory_bytes, room.memory_bytes),
            ("gpus", wanted.gpus, room.gpus),
        ]
        return [
            FieldError(
                ("resources", name),
                f"{asked:g} is more than backend {backend} has ({has:g})",
                f"ask for at most {has:g}",
            )
            for name, asked, has in over
            if asked > has
        ]

    def _require_space(self) -> None:
        free = shutil.disk_usage(self._state_dir).free
        if free < self._free_bytes_floor:
            raise StorageFull(
                f"{self._state_dir} has {free} bytes free, under the floor of "
                f"{self._free_bytes_floor}",
                hint="free some space; queued jobs are kept",
            )

    def _require_plan(self, plan: Plan) -> None:
        names = {step.name for step in plan.steps}
        for step in plan.steps:
            checks = {output.check for output in step.outputs if output.check}
            missing = [
                *(
                    f"environment {step.environment!r}"
                    for _ in (1,)
                    if step.environment not in self._catalogue.environments
                ),
                *(f"check {name!r}" for name in checks - set(self._catalogue.checks)),
                *(f"step {name!r}" for name in set(step.after) - names),
            ]
            if missing:
                raise ValidationFailed(
                    f"the task's plan needs {', '.join(missing)}, which no plugin registers",
                    code="plan_unresolved",
                    hint="list the plugin that brings it in plugins.toml",
                )


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


def _hint(problem: Mapping[str, Any]) -> str:
    context = problem.get("ctx") or {}
    if problem["type"] == "extra_forbidden":
        return "remove it, or check its spelling"
    bounds = [f"{key} {context[key]}" for key in ("ge", "gt", "le", "lt") if key in context]
    return f"must be {' and '.join(bounds)}" if bounds else ""


def _params(task: TaskType, given: Mapping[str, Any]) -> BaseModel:
    try:
        return task.Params.model_validate(dict(given))
    except ValidationError as error:
        errors = field_errors(error, ("params",))
        known = task.Params.model_fields
        raise _failed([_spelling(problem, known) for problem in errors]) from error


def _spelling(problem: FieldError, known: Iterable[str]) -> FieldError:
    if "Extra inputs" not in problem.msg:
        return problem
    name = str(problem.loc[-1])
    return replace(problem, msg=f"unknown field {name!r}", hint=did_you_mean(name, known))


def _spec_errors(spec: JobSpec) -> list[FieldError]:
    errors = []
    if abs(spec.priority) > MAX_PRIORITY:
        errors.append(FieldError(("priority",), "must be between -100 and 100"))
    if len(json.dumps(dict(spec.params), default=str)) > MAX_PARAMS_BYTES:
        errors.append(FieldError(("params",), f"larger than {MAX_PARAMS_BYTES} bytes"))
    return errors


def _bounds(wanted: Resources) -> list[FieldError]:
    checks = [
        ("cpus", wanted.cpus > 0, "must be more than 0"),
        (
            "memory_bytes",
            wanted.memory_bytes >= MIN_MEMORY_BYTES,
            f"must be at least {MIN_MEMORY_BYTES}",
        ),
        ("gpus", wanted.gpus >= 0, "must be 0 or more"),
        (
            "timeout_s",
            0 < wanted.timeout_s <= MAX_TIMEOUT_S,
            f"must be more than 0 and at most {MAX_TIMEOUT_S}",
        ),
    ]
    return [FieldError(("resources", name), text) for name, fine, text in checks if not fine]


def _failed(errors: list[FieldError]) -> ValidationFailed:
    first = errors[0]
    where = ".".join(str(part) for part in first.loc)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ValidationFailed(f"{where}: {first.msg}{more}", hint=first.hint, errors=errors)


def _digest(spec: JobSpec) -> str:
    text = json.dumps(asdict(spec), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
