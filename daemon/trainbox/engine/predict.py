"""Predictions: confined worker processes by model, kept warm, replaced when they fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainbox.engine import predict_columns, predict_rows, predict_tensors
from trainbox.engine import predict_refusals as refusals
from trainbox.engine.predict_places import Places
from trainbox.engine.predict_seat import Seat
from trainbox.engine.predict_tables import TableWorkers
from trainbox.engine.predict_tickets import SeatLimits
from trainbox.engine.predict_values import Input, read_signature
from trainbox.recorder import Recorder
from trainbox.workers import predict_wire as wire
from trainbox_sdk.artifacts import ModelView, Prediction
from trainbox_sdk.predictions import InferRequest, InferResult, ServedModel, TableRequest

GIB = 1024**3
LARGE = 10_000
"""Values from which rows are worked on beside the event loop."""
REMEMBERED = 1000
"""Models whose facts are kept without a process."""


class Predictor:
    """Runs models on rows and tensors.

    Args:
        max_workers: processes at one time; the least recently used idle one makes room, and a
            model under load gets several while there are free places.
        memory_bytes: memory of one worker.
        timeout_s: seconds for one run, and for a request's wait before that.
        max_rows: rows of one request.
        batch_rows: rows up to which requests for one model share a run.
        batch_delay_s: seconds a request waits for company; 0 for not at all.
        load_timeout_s: seconds for a worker to start and load its model.
        idle_s: seconds after its last run that a worker is kept.
        max_waiting: requests at one time for one model; further ones are refused.
        max_model_bytes: largest file that is loaded.
        recorder: hears of runs.
    """

    def __init__(
        self,
        *,
        max_workers: int,
        memory_bytes: int,
        timeout_s: float,
        max_rows: int = 10_000,
        batch_rows: int = 1024,
        batch_delay_s: float = 0.0,
        load_timeout_s: float = 60.0,
        idle_s: float = 900.0,
        max_waiting: int = 1024,
        max_model_bytes: int = 2 * GIB,
        recorder: Recorder | None = None,
    ) -> None:
        self._limits = SeatLimits(
            memory_bytes=memory_bytes,
            model_bytes=max_model_bytes,
            timeout_s=timeout_s,
            load_timeout_s=load_timeout_s,
            idle_s=idle_s,
            batch_rows=batch_rows,
            batch_delay_s=batch_delay_s,
            waiting=max_waiting,
        )
        self._recorder = recorder or Recorder()
        self._max_rows = max_rows
        self._places = Places(max_workers, self._spawn)
        self._seats: dict[str, Seat] = {}
        self._signatures: dict[str, tuple[Mapping[str, Any], tuple[Input, ...]]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    async def predict(
        self,
        model: ModelView,
        onnx_path: Path,
        rows: Sequence[Mapping[str, Any]],
        *,
        ignore_extra: bool = False,
    ) -> Prediction:
        """Predict rows with a model.

        Args:
            model: names inputs and their types; its digest is the key of the worker.
            onnx_path: the file of that digest.
            rows: one mapping per row, with the model's inputs.
            ignore_extra: leave out what the model does not know, rather than refuse it.

        Raises:
            ValidationFailed: missing, extra or wrongly typed columns; or the model raises on them.
            TooLarge: too many rows.
            Unavailable: the worker died or ran out of time or memory, or too many wait; the next
                request gets a fresh worker.
        """
        began, result = time.monotonic(), "error"
        try:
            found = await self._predict(model, onnx_path, rows, ignore_extra=ignore_extra)
            result = "ok"
        finally:
            self._recorder.predicted(time.monotonic() - began, result)
        return found

    async def _predict(
        self,
        model: ModelView,
        onnx_path: Path,
        rows: Sequence[Mapping[str, Any]],
        *,
        ignore_extra: bool,
    ) -> Prediction:
        inputs = self._inputs(model)
        large = len(rows) * len(inputs) > LARGE and len(rows) <= self._max_rows

        def check() -> dict[str, Sequence[Any]]:
            return predict_rows.to_columns(inputs, rows, self._max_rows, ignore_extra=ignore_extra)

        columns = await asyncio.to_thread(check) if large else check()
        seat = self._seat(model, onnx_path)
        loaded = await seat.ready()
        item = (
            await asyncio.to_thread(predict_columns.pack, columns, len(rows), loaded.inputs)
            if large
            else predict_columns.pack(columns, len(rows), loaded.inputs)
        )
        answer = await seat.run(item)
        names = loaded.output_names

        def make(outputs: Sequence[wire.Output], count: int) -> list[dict[str, Any]]:
            named = dict(zip(names, outputs, strict=True))
            return predict_rows.to_rows(named, count, loaded.classes)

        rows_out = answer.made(make, predict_rows.WHOLE, names)
        return Prediction(model.id, rows_out, predict_rows.unseen(inputs, columns))

    async def read_table(
        self, model: ModelView, tables: TableWorkers, request: TableRequest
    ) -> list[dict[str, Any]]:
        """Return the rows of a table, read by the types of the model's inputs.

        Raises:
            ValidationFailed: it cannot be read.
            Unavailable: the worker that reads it failed.
        """
        inputs = self._inputs(model)
        return await tables.read(request.format, request.data, inputs, self._max_rows)

    async def infer(self, model: ModelView, onnx_path: Path, request: InferRequest) -> InferResult:
        """Run a model on tensors.

        Raises:
            ValidationFailed: tensors the model does not take, or outputs it does not have.
            TooLarge: too many rows.
            Unavailable: as :meth:`predict`.
        """
        began, result = time.monotonic(), "error"
        try:
            found = await self._infer(model, onnx_path, request)
            result = "ok"
        finally:
            self._recorder.predicted(time.monotonic() - began, result)
        return found

    async def _infer(self, model: ModelView, onnx_path: Path, request: InferRequest) -> InferResult:
        seat = self._seat(model, onnx_path)
        loaded = await seat.ready()
        wanted = predict_tensors.wanted_outputs(request.outputs, loaded.outputs)
        item = predict_tensors.to_item(request.inputs, loaded.inputs, self._max_rows)
        outputs = (await seat.run(item)).outputs()
        return InferResult(model, predict_tensors.to_tensors(outputs, loaded.outputs, wanted))

    async def describe(self, model: ModelView, onnx_path: Path) -> ServedModel:
        """Return what a model takes and gives, with a process of it ready.

        Raises:
            TooLarge: the model's file.
            Unavailable: it cannot be served, or no place was free in time.
        """
        loaded = await self._seat(model, onnx_path).ready()
        specs = predict_tensors.specs
        return ServedModel(model, specs(loaded.inputs), specs(loaded.outputs))

    async def warm(self, model: ModelView, onnx_path: Path) -> None:
        """Have a process of the model ready, also where every place is taken by busy ones.

        For a switch between versions: call it before the new one gets its first request. The old
        one answers what it was asked and makes room once nobody asks it.

        Raises:
            TooLarge: the model's file.
            Unavailable: it cannot be served.
        """
        seat = self._seat(model, onnx_path)
        seat.urgent = True
        try:
            await seat.ready()
        finally:
            seat.urgent = False

    async def close(self) -> None:
        """Kill every worker; requests in flight fail as unavailable. Harmless the second time."""
        self._closed = True
        self._places.forget()
        await asyncio.gather(*(seat.close() for seat in self._seats.values()))
        while self._background:
            await asyncio.wait(self._background)
        self._places.slots.clear()

    def workers(self) -> dict[str, int]:
        """Return a process id of every model with a live worker, least recently used first."""
        return {digest: pids[0] for digest, pids in self.processes().items()}

    def processes(self) -> dict[str, list[int]]:
        """Return the process ids of every model with live workers, least recently used first."""
        found: dict[str, list[int]] = {}
        for slot in self._places.slots:
            if slot.process is not None and slot in slot.seat.slots:
                pids = found.pop(slot.seat.digest, [])
                found[slot.seat.digest] = [*pids, slot.process.pid]
        return found

    def _inputs(self, model: ModelView) -> tuple[Input, ...]:
        """Return what :func:`read_signature` says; a version's signature never changes."""
        known = self._signatures.get(model.id)
        if known is None or known[0] is not model.signature:
            if len(self._signatures) >= REMEMBERED:
                self._signatures.clear()
            known = self._signatures[model.id] = (model.signature, read_signature(model.signature))
        return known[1]

    def _seat(self, model: ModelView, path: Path) -> Seat:
        if self._closed:
            raise refusals.closing()
        seat = self._seats.get(model.digest)
        if seat is None:
            if len(self._seats) >= REMEMBERED:
                self._forget_one()
            seat = Seat(model.digest, path, self._limits, self._places, self._spawn, self._recorder)
            self._seats[model.digest] = seat
        return seat

    def _forget_one(self) -> None:
        unused = (each for each in self._seats.values() if not each.slots and not each.pending)
        seat = next(unused, None)
        if seat is not None:
            del self._seats[seat.digest]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work in the background, held until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
