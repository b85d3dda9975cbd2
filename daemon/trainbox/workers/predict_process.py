"""The daemon's side of one predict worker: started, asked, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbox.workers import frames, launch

log = logging.getLogger(__name__)

_WORKER = "trainbox.workers.predict_worker"
LARGE = 10_000
"""Values from which JSON is worked on beside the event loop."""


class WorkerGone(Exception):
    """The worker died or spoke nonsense; what it was asked is not answered."""


class OutOfMemory(WorkerGone):
    """The worker's memory did not suffice."""


class ModelUnusable(Exception):
    """The worker refuses to load the model; the next one would too."""


class RunFailed(Exception):
    """The model raised on these rows; the worker lives."""


@dataclass(frozen=True)
class Loaded:
    """What a worker says about its model.

    Attributes:
        inputs: name to ONNX type, such as ``tensor(float)``.
        classes: labels in the order of the probabilities, where the file states them.
        missing: layers of confinement this host does not give, and why.
    """

    inputs: Mapping[str, str]
    classes: Sequence[Any] | None
    applied: Mapping[str, str]
    missing: Mapping[str, str]


class PredictProcess:
    """One live worker. Not for concurrent use: one request at a time."""

    def __init__(
        self,
        process: Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        errors: asyncio.Task[str],
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._errors = errors
        self.loaded = Loaded({}, None, {}, {})

    @classmethod
    async def start(cls, model: Path, *, memory_bytes: int, timeout_s: float) -> PredictProcess:
        """Start a worker and wait until it has loaded the model.

        Args:
            model: the ONNX file; opened here, so that the worker needs no path.
            memory_bytes: writable memory of the worker.
            timeout_s: seconds for both.

        Raises:
            ModelUnusable: the file is no model that can be served.
            WorkerGone: it died while loading.
            TimeoutError: it did not get ready.
            OSError: the file cannot be opened.
        """
        here, process = await _launch(model)
        assert process.stderr is not None
        errors = asyncio.create_task(launch.tail(process.stderr))
        reader, writer = await asyncio.open_connection(sock=here)
        worker = cls(process, reader, writer, errors)
        try:
            async with asyncio.timeout(timeout_s):
                worker.loaded = _loaded(await worker._ask({"memory_bytes": memory_bytes}))
        except BaseException:
            await asyncio.shield(worker.close())
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not been seen dead."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def run(
        self, columns: Mapping[str, Sequence[Any]], *, timeout_s: float
    ) -> dict[str, Any]:
        """Predict columns of JSON values of equal length; return outputs by name.

        After :class:`WorkerGone` or a TimeoutError the worker is of no more use: close it.

        Raises:
            RunFailed: the model refuses these values.
            WorkerGone: it died.
            TimeoutError: no answer in time.
        """
        async with asyncio.timeout(timeout_s):
            size = sum(map(len, columns.values()))
            answer = await self._ask({"columns": columns}, large=size > LARGE)
        if "out_of_memory" in answer:
            raise OutOfMemory(str(answer["out_of_memory"]))
        if "failed" in answer:
            raise RunFailed(str(answer["failed"]))
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            raise WorkerGone("it answered something else")
        return outputs

    async def close(self) -> None:
        """Kill it and reap it; harmless when it is dead."""
        code = await launch.end(self._process)
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        errors = await self._errors
        if errors.strip():
            log.info("predict worker %d (%s): %s", self.pid, launch.death(code), errors)

    async def _ask(self, document: Any, *, large: bool = False) -> dict[str, Any]:
        try:
            frame = (
                await asyncio.to_thread(frames.encode, document)
                if large
                else (frames.encode(document))
            )
            self._writer.write(frame)
            await self._writer.drain()
            body = await frames.read_body(self._reader)
            return (
                await asyncio.to_thread(frames.decode, body)
                if len(body) > LARGE
                else frames.decode(body)
            )
        except asyncio.IncompleteReadError as error:
            raise WorkerGone(await self._cause()) from error
        except ConnectionError as error:
            raise WorkerGone(await self._cause()) from error
        except frames.BadFrame as error:
            raise WorkerGone(f"it spoke nonsense: {error}") from error

    async def _cause(self) -> str:
        """Say why the socket closed: the process is dead, or about to be."""
        return f"it died of {launch.death(await launch.end(self._process))}"


async def _launch(model: Path) -> tuple[socket.socket, Process]:
    """Start the program with its end of a socket and the open model; return our end."""
    fd = os.open(model, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        here, there = socket.socketpair()
        try:
            with there:
                fds = (there.fileno(), fd)
                return here, await launch.start(_WORKER, cwd=Path("/"), fds=fds)
        except BaseException:
            here.close()
            raise
    finally:
        os.close(fd)


def _loaded(answer: Mapping[str, Any]) -> Loaded:
    if "unusable" in answer:
        raise ModelUnusable(str(answer["unusable"]))
    inputs, classes = answer.get("inputs"), answer.get("classes")
    confinement = answer.get("confinement")
    if not isinstance(inputs, dict) or not isinstance(confinement, dict):
        raise WorkerGone("it did not say what it loaded")
    labels = classes if isinstance(classes, list) else None
    return Loaded(inputs, labels, confinement.get("applied", {}), confinement.get("missing", {}))
