"""Starting a run: everything is checked, then one transaction decides who was first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from trainbox_plugins.custom_training import wire
from trainbox_plugins.custom_training.answers import RunOut
from trainbox_plugins.custom_training.credentials import SYSTEM, Caller
from trainbox_plugins.custom_training.datasets import find_dataset, require_fit
from trainbox_plugins.custom_training.errors import refused
from trainbox_plugins.custom_training.library import TRIES, Library, act, require_active
from trainbox_plugins.custom_training.names import LIVE, RUN_LABEL, new_run_id, shown, stamp
from trainbox_plugins.custom_training.records import (
    ModelConfig,
    ModelRecord,
    RunBody,
    RunRecord,
    model_write,
    run_of,
    run_write,
)
from trainbox_plugins.custom_training.runs import GIB, brief
from trainbox_plugins.custom_training.scripts import only_script, require_script
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.assets import AssetView
from trainbox_sdk.documents import Act, Along
from trainbox_sdk.engine import Engine, JobFilter
from trainbox_sdk.errors import Conflict, ValidationFailed
from trainbox_sdk.jobs import JobSpec, JobView, State

SCRIPT_TASK = "custom_script"
BINARY = 2
TEXT = frozenset({"csv", "jsonl"})


@dataclass(frozen=True)
class Order:
    """A run that has been checked and only has to win.

    Attributes:
        started: word of the audit log.
    """

    spec: JobSpec
    body: RunBody
    started: str


class Trainer:
    """Turns requests for training into jobs of the engine."""

    def __init__(self, engine: Engine, library: Library) -> None:
        self._engine = engine
        self._library = library

    async def custom(self, caller: Caller, model_id: str, wish: wire.CustomTrain) -> RunOut:
        """Run the model's script.

        Raises:
            ValidationFailed: not a custom model, no such script, no data, or what no host gives.
            Conflict: a run of the model has not ended.
        """

        async def order(model: ModelRecord) -> Order:
            return await self._script_order(caller, model, wish, "custom_training_started")

        return await self._submit(caller, model_id, order)

    async def train(self, caller: Caller, model_id: str, wish: wire.Train) -> RunOut:
        """Train by AutoML, or run the one script of a custom model.

        Raises:
            ValidationFailed: as :meth:`custom`; or a kind of task that has no AutoML.
            Conflict: a run of the model has not ended.
        """

        async def order(model: ModelRecord) -> Order:
            if model.body.model_type == "auto":
                return await self._auto_order(caller, model, wish)
            if wish.config_override is not None:
                raise refused(
                    "body",
                    "config_override",
                    msg="only models of model_type 'auto' take one; tell a script by the "
                    "environment_vars of POST /api/v1/models/{model_id}/custom/train",
                )
            script = only_script(await self.files(caller, model))
            custom = wire.CustomTrain(
                entry_point=script.filename,
                runtime="python3.11",
                run_label=wish.run_label,
                timeout_seconds=wish.timeout_seconds,
            )
            made = await self._script_order(caller, model, custom, "training_started")
            spec = replace(made.spec, priority=wire.PRIORITIES[wish.priority])
            return replace(made, spec=spec)

        return await self._submit(caller, model_id, order)

    async def files(self, caller: Caller, model: ModelRecord) -> Sequence[AssetView]:
        """Return a model's assets, newest first: of several with one filename the newest."""
        found: dict[str, AssetView] = {}
        for each in await self.every_file(caller, model):
            found.setdefault(each.filename, each)
        return list(found.values())

    async def every_file(self, caller: Caller, model: ModelRecord) -> Sequence[AssetView]:
        """Return a model's assets, newest first, also those about to be replaced."""
        found: list[AssetView] = []
        after: str | None = None
        while True:
            page = await self._engine.assets(caller.who, group=model.id, limit=200, after=after)
            found.extend(page.items)
            after = page.next
            if after is None:
                return found

    # -- what is asked of the engine ----------------------------------------------------------

    async def _script_order(
        self, caller: Caller, model: ModelRecord, wish: wire.CustomTrain, started: str
    ) -> Order:
        if model.body.model_type != "custom":
            raise refused(
                "path",
                "model_id",
                msg="model_type is 'auto': only models of model_type 'custom' run a script; "
                "train this one with POST /api/v1/models/{model_id}/train",
            )
        files = await self.files(caller, model)
        require_script(files, wish.entry_point)
        dataset = await self._dataset(caller, model)
        resources: dict[str, Any] = {"timeout_s": wish.timeout_seconds}
        if wish.compute.cpu_cores is not None:
            resources["cpus"] = wish.compute.cpu_cores
        if wish.compute.memory_gb is not None:
            resources["memory_bytes"] = wish.compute.memory_gb * GIB
        if wish.compute.gpu:
            resources["gpus"] = 1
        params = {
            "entry_point": wish.entry_point,
            "runtime": wish.runtime,
            "assets": [
                {"asset": each.id, "name": each.filename, "kind": each.kind} for each in files
            ],
            "environment_vars": dict(wish.environment_vars),
            # What was uploaded is what a script expects to read.
            "dataset_format": dataset.source_format if dataset.source_format in TEXT else "parquet",
        }
        spec = JobSpec(SCRIPT_TASK, dataset.id, params, resources)
        body = RunBody(
            model_type="custom",
            created_by=caller.who.actor,
            entry_point=wish.entry_point,
            runtime=wish.runtime,
            run_label=wish.run_label,
            timeout_seconds=wish.timeout_seconds,
            dataset_id=dataset.id,
            dataset_rows=dataset.rows,
            environment=sorted(wish.environment_vars),
            assets=[
                {
                    "asset_id": shown(each.id),
                    "filename": each.filename,
                    "asset_type": each.kind,
                    "digest": each.digest,
                }
                for each in files
            ],
        )
        return Order(spec, body, started)

    async def _auto_order(self, caller: Caller, model: ModelRecord, wish: wire.Train) -> Order:
        config = _overridden(model.body.config, wish.config_override)
        if model.body.task_type == "clustering":
            raise refused(
                "path", "model_id", msg="there is no AutoML for clustering; use a custom model"
            )
        if config.target_column is None:
            raise refused("body", "config", "target_column", msg="AutoML needs a target column")
        dataset = await self._dataset(caller, model)
        require_fit(config, dataset, "config")
        task = await self._auto_task(caller, model, dataset, config.target_column)
        params = {**config.parameters, "target": config.target_column}
        if config.feature_columns:
            params["features"] = list(config.feature_columns)
        spec = JobSpec(
            task,
            dataset.id,
            params,
            {"timeout_s": wish.timeout_seconds},
            priority=wire.PRIORITIES[wish.priority],
        )
        body = RunBody(
            model_type="auto",
            created_by=caller.who.actor,
            entry_point=None,
            runtime=None,
            run_label=wish.run_label,
            timeout_seconds=wish.timeout_seconds,
            dataset_id=dataset.id,
            dataset_rows=dataset.rows,
        )
        return Order(spec, body, "training_started")

    async def _auto_task(
        self, caller: Caller, model: ModelRecord, dataset: DatasetView, target: str
    ) -> str:
        if model.body.task_type == "regression":
            return "regression"
        profile = await self._engine.target_profile(caller.who, dataset.id, target)
        return "binclass" if 0 < len(profile.classes) <= BINARY else "multiclass"

    async def _dataset(self, caller: Caller, model: ModelRecord) -> DatasetView:
        link = model.body.dataset
        if link is None:
            raise refused(
                "path",
                "model_id",
                msg="no dataset is linked; POST /api/v1/models/{model_id}/dataset links one",
            )
        return await find_dataset(self._engine, caller, link.dataset_id)

    # -- the race -----------------------------------------------------------------------------

    async def _submit(self, caller: Caller, model_id: str, order_of: Any) -> RunOut:
        """Submit; again with a fresh look where the model or a file of it has changed meanwhile.

        Also where the run's id was taken.
        """
        for _ in range(TRIES):
            model = await self._library.model(caller, model_id)
            order: Order = await order_of(model)
            require_active(model)
            run_id = new_run_id(order.body.model_type)
            body = replace(order.body, estimated_start_time=await self._estimate(order.spec))
            try:
                job = await self._put(caller, model, run_id, replace(order, body=body))
            except ValidationFailed as error:
                # A newer upload, or a deletion, came between the look at the files and the job.
                if not any(one.loc[:2] == ("params", "assets") for one in error.errors):
                    raise
                continue
            except Conflict as error:
                if error.code == "job_exclusive":
                    raise Conflict(
                        f"A training run of model {model_id!r} is in progress.", code=error.code
                    ) from error
                if error.code != "document_changed":
                    raise
                continue
            return brief(await self._linked(caller, model, run_id, body, job), job)
        raise Conflict(f"Model {model_id!r} is being changed by others; try again.")

    async def _put(self, caller: Caller, model: ModelRecord, run_id: str, order: Order) -> JobView:
        moved = replace(model, body=replace(model.body, latest_run=run_id))
        facts = {"run_id": run_id, "run_label": order.body.run_label}
        along = Along(
            exclusive=f"model:{model.id}",
            acts=(
                act(
                    order.started,
                    model.id,
                    **facts,
                    entry_point=order.body.entry_point,
                    runtime=order.body.runtime,
                ),
            ),
            writes=(run_write(run_id, model, order.body), model_write(moved)),
            at_end=_at_end(model.id, run_id),
        )
        spec = replace(order.spec, name=model.id, labels={RUN_LABEL: run_id, "model_id": model.id})
        return (await self._engine.submit(caller.who, spec, along=along)).job

    async def _linked(
        self, caller: Caller, model: ModelRecord, run_id: str, body: RunBody, job: JobView
    ) -> RunRecord:
        """Note the job in the run; a daemon that dies before leaves the label to find it by."""
        write = run_write(run_id, model, replace(body, job_id=job.id), expect=1)
        # Shielded: a client that goes away must not make the difference.
        writing = asyncio.ensure_future(self._engine.write_documents(caller.who, [write]))
        (document,) = await asyncio.shield(writing)
        return run_of(document)

    async def _estimate(self, spec: JobSpec) -> str | None:
        """Return when a new job would start; None where nobody can know."""
        del spec
        ahead = await self._engine.jobs(SYSTEM, JobFilter(states=LIVE, limit=50))
        now = datetime.now(UTC)
        if not ahead.items:
            return stamp(now)
        if any(job.state is State.QUEUED or job.eta_s is None for job in ahead.items):
            return None
        return stamp(now + timedelta(seconds=min(job.eta_s or 0.0 for job in ahead.items)))


def _at_end(model_id: str, run_id: str) -> dict[str, Act]:
    return {
        str(State.SUCCEEDED): act("training_completed", model_id, run_id=run_id),
        str(State.FAILED): act("training_failed", model_id, run_id=run_id, state="failed"),
        str(State.INTERRUPTED): act(
            "training_failed", model_id, run_id=run_id, state="interrupted"
        ),
        str(State.CANCELLED): act("training_cancelled", model_id, run_id=run_id),
    }


def _overridden(config: ModelConfig, wish: wire.ConfigIn | None) -> ModelConfig:
    if wish is None:
        return config
    given = wish.model_dump(exclude_unset=True)
    parameters = {**config.parameters, **given.pop("parameters", {})}
    return ModelConfig(**{**asdict(config), **given, "parameters": parameters})
