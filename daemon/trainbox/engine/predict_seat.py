"""The place of one model among the predict workers: a queue, and a process while it is needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbox.workers.predict_process import (
    ModelUnusable,
    OutOfMemory,
    PredictProcess,
    RunFailed,
    WorkerGone,
)
from trainbox_sdk.errors import TooLarge, Unavailable, ValidationFailed

log = logging.getLogger(__name__)

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class SeatLimits:
    """What one worker may use.

    Attributes:
        memory_bytes: writable memory of the process.
        model_bytes: largest file that is loaded.
        timeout_s: seconds for one request's run, and for its wait before that.
        load_timeout_s: seconds to start and to load the model.
    """

    memory_bytes: int
    model_bytes: int
    timeout_s: float
    load_timeout_s: float


@dataclass(frozen=True)
class Answer:
    """What a model said: outputs by name, and the labels its file states."""

    outputs: Mapping[str, Any]
    classes: Sequence[Any] | None


class Seat:
    """One model's requests, one after the other, so that a failure is the failing request's alone.

    Attributes:
        users: requests that hold or await the worker; the predictor counts them.
        expiry: when the idle worker is let go; the predictor sets it.
    """

    def __init__(self, digest: str, path: Path, limits: SeatLimits) -> None:
        self.digest = digest
        self.users = 0
        self.expiry: asyncio.TimerHandle | None = None
        self._path = path
        self._limits = limits
        self._turn = asyncio.Lock()
        self._process: PredictProcess | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        return self._process.pid if self._process else None

    async def run(self, columns: Columns) -> Answer:
        """Predict when it is this request's turn.

        Raises:
            ValidationFailed: the model raises on these values.
            TooLarge: the model's file.
            Unavailable: the worker failed, or the turn did not come.
        """
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise busy("earlier requests for this model take too long") from error
        try:
            return await self._ask(columns)
        except RunFailed as error:
            raise ValidationFailed(
                f"the model fails on these rows: {error}", code="model_run_failed"
            ) from error
        except (WorkerGone, TimeoutError) as error:
            await self._drop()
            raise self._unavailable(error) from error
        finally:
            self._turn.release()

    async def close(self) -> None:
        """Kill the worker for good; requests that wait fail. Harmless the second time."""
        self._closed = True
        if self.expiry is not None:
            self.expiry.cancel()
        await self._drop()

    async def _ask(self, columns: Columns) -> Answer:
        process = await self._ready()
        if process.loaded.inputs.keys() != columns.keys():
            raise _unusable("its inputs are not those of its signature")
        outputs = await process.run(columns, timeout_s=self._limits.timeout_s)
        return Answer(outputs, process.loaded.classes)

    async def _ready(self) -> PredictProcess:
        if self._process is not None and not self._process.alive:
            await self._drop()
        if self._closed:
            raise closing()
        if self._process is None:
            self._process = await self._start()
        return self._process

    async def _start(self) -> PredictProcess:
        limits = self._limits
        try:
            size = self._path.stat().st_size
            if size > limits.model_bytes:
                raise TooLarge(f"the model has {size:,} bytes, at most {limits.model_bytes:,}")
            process = await PredictProcess.start(
                self._path, memory_bytes=limits.memory_bytes, timeout_s=limits.load_timeout_s
            )
        except ModelUnusable as error:
            raise _unusable(str(error)) from error
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise Unavailable(
                f"the predict worker cannot be started: {error}", code="predict_worker_failed"
            ) from error
        if self._closed:
            await process.close()
            raise closing()
        log.info("predict worker %d serves %s", process.pid, self.digest)
        return process

    async def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.close()

    def _unavailable(self, error: Exception) -> Unavailable:
        if self._closed:
            return closing()
        log.warning("predict worker of %s failed: %s", self.digest, error or "timeout")
        if isinstance(error, OutOfMemory):
            return Unavailable(
                f"the prediction needs more than {self._limits.memory_bytes:,} bytes of memory",
                code="predict_out_of_memory",
                hint="send fewer rows at a time",
            )
        if isinstance(error, TimeoutError):
            return Unavailable(
                f"the prediction took longer than {self._limits.timeout_s:g} s",
                code="predict_timeout",
                hint="send fewer rows at a time",
            )
        return Unavailable(
            f"the predict worker failed: {error}",
            code="predict_worker_failed",
            hint="send the request again; the next one gets a fresh worker",
        )


def busy(message: str) -> Unavailable:
    """Return the refusal of a request there is no turn for."""
    return Unavailable(message, code="predict_busy", hint="send the request again later")


def closing() -> Unavailable:
    """Return the refusal of a request to a daemon that is stopping."""
    return Unavailable("predictions are stopping", code="predict_closed")


def _unusable(message: str) -> Unavailable:
    return Unavailable(
        f"the model cannot be served: {message}",
        code="model_unusable",
        hint="export it again; the checks of a new version say what is wrong",
    )
