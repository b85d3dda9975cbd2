"""Predictions: one confined worker process per model in use, kept warm, replaced when it fails."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainbox.engine import predict_rows
from trainbox.engine.predict_seat import Answer, Columns, Seat, SeatLimits, busy, closing
from trainbox.engine.predict_values import read_signature
from trainbox_sdk.artifacts import ModelView, Prediction

GIB = 1024**3
LARGE = 10_000
"""Values from which rows are worked on beside the event loop."""


class Predictor:
    """Runs models on rows.

    Args:
        max_workers: processes at one time, one model each; the least recently used idle one makes
            room.
        memory_bytes: memory of one worker.
        timeout_s: seconds for one request's run, and for its wait before that.
        max_rows: rows of one request.
        load_timeout_s: seconds for a worker to start and load its model.
        idle_s: seconds after its last request that a worker is kept.
        max_waiting: requests at one time for one model; further ones are refused.
        max_model_bytes: largest file that is loaded.
    """

    def __init__(
        self,
        *,
        max_workers: int,
        memory_bytes: int,
        timeout_s: float,
        max_rows: int = 10_000,
        load_timeout_s: float = 60.0,
        idle_s: float = 900.0,
        max_waiting: int = 256,
        max_model_bytes: int = 2 * GIB,
    ) -> None:
        self._max_workers = max_workers
        self._limits = SeatLimits(memory_bytes, max_model_bytes, timeout_s, load_timeout_s)
        self._max_rows = max_rows
        self._idle_s = idle_s
        self._max_waiting = max_waiting
        self._seats: OrderedDict[str, Seat] = OrderedDict()
        self._changed = asyncio.Condition()
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def predict(
        self, model: ModelView, onnx_path: Path, rows: Sequence[Mapping[str, Any]]
    ) -> Prediction:
        """Predict rows with a model.

        Args:
            model: names inputs and their types; its digest is the key of the worker.
            onnx_path: the file of that digest.
            rows: one mapping per row, with exactly the model's inputs.

        Raises:
            ValidationFailed: missing, extra or wrongly typed columns; or the model raises on them.
            TooLarge: too many rows.
            Unavailable: the worker died or ran out of time or memory, or too many wait; the next
                request gets a fresh worker.
        """
        inputs = read_signature(model.signature)
        large = len(rows) * len(inputs) > LARGE and len(rows) <= self._max_rows
        check = (inputs, rows, self._max_rows)
        columns = (
            await asyncio.to_thread(predict_rows.to_columns, *check)
            if large
            else predict_rows.to_columns(*check)
        )
        # An exchange runs to its end even if the caller gives up: half of one would confuse the
        # next.
        work = self._keep(asyncio.create_task(self._run(model.digest, onnx_path, columns)))
        answer = await asyncio.shield(work)
        rows_out = predict_rows.to_rows(answer.outputs, len(rows), answer.classes)
        return Prediction(model_id=model.id, rows=rows_out)

    async def close(self) -> None:
        """Kill every worker; requests in flight fail as unavailable. Harmless the second time."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()
        seats = list(self._seats.values())
        self._seats.clear()
        await asyncio.gather(*(seat.close() for seat in seats))
        while self._background:
            await asyncio.wait(self._background)

    def workers(self) -> dict[str, int]:
        """Return the process id of every live worker by model digest, least recently used first."""
        return {digest: seat.pid for digest, seat in self._seats.items() if seat.pid is not None}

    async def _run(self, digest: str, path: Path, columns: Columns) -> Answer:
        seat = await self._take(digest, path)
        try:
            return await seat.run(columns)
        finally:
            await self._leave(seat)

    async def _take(self, digest: str, path: Path) -> Seat:
        """Return the model's seat, with this request counted on it; wait until one is free."""
        try:
            async with asyncio.timeout(self._limits.timeout_s), self._changed:
                while not await self._make_room(digest):
                    await self._changed.wait()
                seat = self._seats.get(digest)
                if seat is None:
                    seat = self._seats[digest] = Seat(digest, path, self._limits)
                if seat.users >= self._max_waiting:
                    raise busy(f"{seat.users} requests wait for this model already")
                seat.users += 1
                self._seats.move_to_end(digest)
                return seat
        except TimeoutError as error:
            raise busy("every predict worker is busy with other models") from error

    async def _make_room(self, digest: str) -> bool:
        """Return whether the model has or can have a seat, after sending an idle one away."""
        if self._closed:
            raise closing()
        if digest in self._seats or len(self._seats) < self._max_workers:
            return True
        idle = next((seat for seat in self._seats.values() if not seat.users), None)
        if idle is None:
            return False
        del self._seats[idle.digest]
        await idle.close()
        return True

    async def _leave(self, seat: Seat) -> None:
        async with self._changed:
            seat.users -= 1
            if seat.expiry is not None:
                seat.expiry.cancel()
            if not seat.users and not self._closed:
                loop = asyncio.get_running_loop()
                seat.expiry = loop.call_later(self._idle_s, self._expire, seat)
            self._changed.notify_all()

    def _expire(self, seat: Seat) -> None:
        if not seat.users and self._seats.get(seat.digest) is seat:
            del self._seats[seat.digest]
            self._keep(asyncio.create_task(seat.close()))

    def _keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        """Hold a task until it is done, and look at its outcome also if its caller has gone."""
        self._background.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()
