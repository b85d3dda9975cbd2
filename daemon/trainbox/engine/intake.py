"""Takes a job in: authorise, validate, admit, plan; then one transaction puts it on disk.

Nothing doomed is queued: whatever can be known before a sandbox runs is checked here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from trainbox.engine.access import Access
from trainbox.engine.complaints import (
    amount,
    did_you_mean,
    failed,
    field_errors,
    params_errors,
    refuse,
    resource_errors,
    spec_errors,
    task_resource_errors,
)
from trainbox.engine.draining import Drain
from trainbox.engine.health import FreeSpaceFloor, Pulse
from trainbox.engine.identity import Identity
from trainbox.engine.plan_files import with_digests
from trainbox.ids import new_id
from trainbox.recorder import NOBODY, Recorder
from trainbox.registry import Registry
from trainbox.store import Store
from trainbox.store.records import NewJob
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.calls.jobs import ALONE, IfIdentical
from trainbox_sdk.documents import Along
from trainbox_sdk.engine import Principal, Submission
from trainbox_sdk.errors import (
    FieldError,
    Forbidden,
    PluginError,
    TrainboxError,
    Unavailable,
)
from trainbox_sdk.jobs import JobSpec, Resources
from trainbox_sdk.plans import plan_problems
from trainbox_sdk.tasks import Plan, TaskType

log = logging.getLogger(__name__)

RESOURCES = TypeAdapter(Resources)
RESOURCE_NAMES = frozenset(field.name for field in fields(Resources))


class Intake:
    """Turns a caller's specification into a stored job.

    Args:
        admit: the plugins' decision: why the job is refused, or None.
        default_backend: ``auto`` or a name.
        floor: below it nothing is accepted.
        drain: closed while an operator empties the daemon.
        recorder: told how long the write took.
        versions: of plugins, by name: a part of what makes jobs identical.
        relieve: tried before a job is refused for want of space; what it gave back, if anything.
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
        floor: FreeSpaceFloor,
        drain: Drain | None = None,
        recorder: Recorder = NOBODY,
        versions: Mapping[str, str] | None = None,
        relieve: Callable[[], Awaitable[Sized]] | None = None,
    ) -> None:
        self._identity = Identity(catalogue, versions or {})
        self._drain = drain or Drain()
        self._recorder = recorder
        self._store = store
        self._catalogue = catalogue
        self._access = access
        self._pulse = pulse
        self._admit = admit
        self._default_backend = default_backend
        self._floor = floor
        self._relieve = relieve

    async def submit(
        self,
        who: Principal,
        spec: JobSpec,
        idempotency_key: str | None,
        if_identical: IfIdentical = IfIdentical.RUN,
        along: Along = ALONE,
    ) -> Submission:
        """Validate everything, then put the job on disk.

        Raises:
            ValidationFailed: see :meth:`trainbox_sdk.engine.Engine.submit`.
            Forbidden: a plugin refused it.
            PluginError: the task type failed, or planned what cannot be run.
            StorageFull: too little space is left.
            Conflict: what rides along cannot be written.
        """
        self._access.require(who, "submit")
        self._drain.require_open()
        refuse(spec_errors(spec))
        task = self._task(spec)
        dataset = await self._dataset(who, task, spec)
        params = _params(task, spec.params)
        backend = await self._backend(spec)
        resources = await self._resources(task, spec, backend)
        with _plugin_at_work(spec.task):
            errors = list(task.validate(params, dataset))
        refuse(errors)
        refusal = self._admit(who, spec)
        if refusal:
            raise Forbidden(refusal, code="not_admitted")
        await self._require_space()
        with _plugin_at_work(spec.task):
            plan = task.plan(params, dataset)
            clean = replace(
                spec,
                params=params.model_dump(mode="json"),
                dataset_id=dataset.id if dataset else None,
            )
        self._require_plan(spec.task, plan)
        plan = await with_digests(self._store, self._access, who, plan, clean.params)
        await self._require_trust(backend, plan)
        new = NewJob(
            id=new_id("job"),
            owner=who.id,
            spec=clean,
            resources=resources,
            backend=backend,
            steps=plan.steps,
            idempotency_key=idempotency_key,
            # Only a key's second request is ever compared.
            request_digest=_digest(spec) if idempotency_key is not None else "",
            identity=self._identity.of(spec.task, clean.params, dataset, resources, plan.steps),
            reuse=if_identical is IfIdentical.REUSE,
            actor=who.actor,
            along=along,
        )
        began = time.monotonic()
        inserted = await self._store.jobs.insert(new, audit=who.id)
        self._recorder.submitted(time.monotonic() - began)
        return Submission(inserted.job, inserted.replayed, inserted.reused, inserted.identical_to)

    # -- one check each -----------------------------------------------------------------------

    def _task(self, spec: JobSpec) -> TaskType:
        task = self._catalogue.tasks.get(spec.task)
        if task is None:
            raise failed(
                [
                    FieldError(
                        ("task",),
                        f"unknown task {spec.task!r}",
                        did_you_mean(spec.task, self._catalogue.tasks),
                    )
                ]
            )
        return task

    async def _require_space(self) -> None:
        if self._relieve is not None and self._floor.reached() and await self._relieve():
            self._floor.look_again()
        self._floor.require()

    async def _dataset(self, who: Principal, task: TaskType, spec: JobSpec) -> DatasetView | None:
        if spec.dataset_id is None:
            if task.needs_dataset:
                hint = "upload one with POST /v1/datasets and give its id"
                raise failed([FieldError(("dataset",), f"{spec.task} needs a dataset", hint)])
            return None
        dataset = await self._access.find_dataset(who, spec.dataset_id)
        if dataset is None:
            problem = f"no dataset {spec.dataset_id!r}", "list yours with GET /v1/datasets"
            raise failed([FieldError(("dataset",), *problem)])
        if dataset.purged_at is not None:
            problem = f"the bytes of dataset {dataset.id} were purged", "upload the data again"
            raise failed([FieldError(("dataset",), *problem)])
        if dataset.trashed_at is not None:
            hint = f"restore it with POST /v1/datasets/{dataset.id}/restore"
            raise failed([FieldError(("dataset",), f"dataset {dataset.id} is in the trash", hint)])
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
            raise failed([FieldError(("backend",), f"unknown backend {wanted!r}", hint)])
        return wanted

    async def _resources(self, task: TaskType, spec: JobSpec, backend: str) -> Resources:
        errors = [
            FieldError(("resources", name), "unknown field", did_you_mean(name, RESOURCE_NAMES))
            for name in spec.resources
            if name not in RESOURCE_NAMES
        ]
        refuse(errors)
        try:
            default = await self._default(task, backend)
            merged = RESOURCES.validate_python({**vars(default), **spec.resources})
        except ValidationError as error:
            raise failed(field_errors(error, ("resources",))) from error
        refuse(
            resource_errors(merged)
            or list(task_resource_errors(task.name, merged, task.most))
            or await self._over_capacity(merged, backend)
        )
        return merged

    async def _default(self, task: TaskType, backend: str) -> Resources:
        """Return what a job gets that asks for nothing: no more than there is."""
        try:
            room = await self._pulse.capacity(backend)
        except Unavailable:
            return task.resources
        return replace(
            task.resources,
            cpus=min(task.resources.cpus, room.cpus),
            memory_bytes=min(task.resources.memory_bytes, room.memory_bytes),
        )

    async def _require_trust(self, backend: str, plan: Plan) -> None:
        """Refuse a user's own code where the backend runs none; a silent one is asked later."""
        health = await self._pulse.recent_health(backend)
        if health.ok and not health.untrusted and not all(step.trusted for step in plan.steps):
            hint = (
                "submit it to the docker backend, or have an administrator allow it: "
                "allow_untrusted in plugins.toml"
            )
            reason = f"backend {backend} does not confine scripts well enough to run them"
            raise failed([FieldError(("backend",), reason, hint)])

    async def _over_capacity(self, wanted: Resources, backend: str) -> list[FieldError]:
        try:
            room = await self._pulse.capacity(backend)
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
                f"{amount(name, asked)} is more than backend {backend} has ({amount(name, has)})",
                f"ask for at most {amount(name, has)}",
            )
            for name, asked, has in over
            if asked > has
        ]

    def _require_plan(self, task: str, plan: Plan) -> None:
        problems = [*plan_problems(plan), *self._unresolved(plan)]
        if problems:
            raise PluginError(
                f"task {task} planned what cannot be run: {'; '.join(problems[:3])}",
                code="plan_invalid",
                hint="tell the author of its plugin, or list what is missing in plugins.toml",
            )

    def _unresolved(self, plan: Plan) -> Iterator[str]:
        for step in plan.steps:
            if step.environment not in self._catalogue.environments:
                yield f"no plugin registers environment {step.environment!r}"
            for name in sorted({output.check for output in step.outputs if output.check}):
                if name not in self._catalogue.checks:
                    yield f"no plugin registers check {name!r}"


@contextmanager
def _plugin_at_work(task: str) -> Iterator[None]:
    """Say whose fault it is when a task type's own code raises."""
    try:
        yield
    except TrainboxError:
        raise
    except Exception as error:
        # A stranger's code: whatever it raises, the caller hears of it and the daemon serves on.
        log.exception("task type failed", extra={"task": task})
        raise PluginError(f"task type {task!r} failed: {error!r}") from error


def _params(task: TaskType, given: Mapping[str, Any]) -> BaseModel:
    with _plugin_at_work(task.name):
        try:
            return task.Params.model_validate(dict(given))
        except ValidationError as error:
            raise failed(params_errors(error, task.Params.model_fields)) from error


def _digest(spec: JobSpec) -> str:
    text = json.dumps(vars(spec), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
