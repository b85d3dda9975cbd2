"""Training: start, list, look at, cancel."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.custom_training import answers, wire
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.library import Library, act
from trainbox_plugins.custom_training.names import run_status
from trainbox_plugins.custom_training.reading import json_body, json_reply, query
from trainbox_plugins.custom_training.runs import Runs, full
from trainbox_plugins.custom_training.table import MODEL, Endpoint, gives, operation
from trainbox_plugins.custom_training.training import Trainer
from trainbox_sdk.engine import Engine
from trainbox_sdk.errors import Conflict


class Training:
    """Handlers of ``…/custom/train``, ``…/train`` and ``…/runs``."""

    def __init__(self, engine: Engine, library: Library, runs: Runs, trainer: Trainer) -> None:
        self._engine = engine
        self._library = library
        self._runs = runs
        self._trainer = trainer

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        taken = gives(answers.RunOut, "Queued.", status=202)
        run = f"{MODEL}/runs/{{run_id}}"
        return [
            Endpoint("POST", f"{MODEL}/custom/train", self.custom,
                     operation("customTrain", "Run a model's script", taken, "model:train",
                               query=wire.NoQuery, body=wire.CustomTrain,
                               problems=(409, 422, 503, 507))),
            Endpoint("POST", f"{MODEL}/train", self.train,
                     operation("customTrainAuto", "Train by AutoML, or run the one script", taken,
                               "model:train", query=wire.NoQuery, body=wire.Train,
                               problems=(409, 422, 503, 507))),
            Endpoint("GET", f"{MODEL}/runs", self.list,
                     operation("customListRuns", "Runs of a model, newest first",
                               gives(answers.RunsOut), "model:read", query=wire.PageQuery,
                               problems=(422,))),
            Endpoint("GET", run, self.get,
                     operation("customGetRun", "A run", gives(answers.RunDetailOut),
                               "model:read", query=wire.NoQuery, problems=(422,))),
            Endpoint("POST", f"{run}/cancel", self.cancel,
                     operation("customCancelRun", "Ask for the end of a run",
                               gives(answers.RunDetailOut, "Asked; it ends soon.", status=202),
                               "model:train", query=wire.NoQuery, problems=(409, 422))),
        ]  # fmt: skip

    async def custom(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/custom/train``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        wish = await json_body(request, wire.CustomTrain)
        return json_reply(await self._trainer.custom(caller, model.id, wish), status=202)

    async def train(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/train``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        query(request, wire.NoQuery)
        wish = await json_body(request, wire.Train)
        return json_reply(await self._trainer.train(caller, model.id, wish), status=202)

    async def list(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/runs``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.PageQuery)
        page = await self._runs.list(model, asked.limit, asked.after)
        shown = [
            full(run, job)
            for run in page.items
            if (job := await self._runs.known_job(caller.who, run)) is not None
        ]
        return json_reply({"model_id": model.id, "runs": shown, "next": page.next})

    async def get(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/runs/{run_id}``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        run = await self._runs.run(model, request.match_info["run_id"])
        query(request, wire.NoQuery)
        return json_reply(full(run, await self._runs.job(caller.who, run)))

    async def cancel(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``POST …/runs/{run_id}/cancel``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        run = await self._runs.run(model, request.match_info["run_id"])
        query(request, wire.NoQuery)
        job = await self._runs.job(caller.who, run)
        if job.state.terminal:
            raise Conflict(f"Run {run.id!r} has ended: {run_status(job)}.")
        # The end itself is the daemon's line; who asked for it is this one.
        asked = act("training_cancel_requested", model.id, run_id=run.id)
        await self._engine.write_documents(caller.who, [], acts=[asked])
        return json_reply(full(run, await self._engine.cancel(caller.who, job.id)), status=202)
