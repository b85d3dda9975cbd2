"""The daemon's side of one predict worker: started, asked, ended."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainbox.workers import frames, launch
from trainbox.workers import predict_wire as wire

log = logging.getLogger(__name__)

_WORKER = "trainbox.workers.predict_worker"
_SOCKET_BYTES = 1024**2
_OWN = ("RssAnon:", "RssShmem:")
LARGE = 1024**2
"""Bytes of an answer from which it is read beside the event loop."""


class WorkerGone(Exception):
    """The worker died or spoke nonsense; what it was asked is not answered."""


class TooMuchMemory(WorkerGone):
    """The worker was ended because it held more memory than it may."""


class ModelUnusable(Exception):
    """The worker refuses to load the model; the next one would too."""


@dataclass(frozen=True)
class TensorFacts:
    """One input or output as the file declares it; -1 stands for a size that is not fixed."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @cached_property
    def row(self) -> tuple[int, ...]:
        """The sizes of one row of an input."""
        return tuple(size if size > 0 else 1 for size in self.shape[1:])

    @cached_property
    def width(self) -> int:
        """How many elements one row of an input has."""
        return math.prod(self.row)


@dataclass(frozen=True)
class Loaded:
    """What a worker says about its model.

    Attributes:
        classes: labels in the order of the probabilities, where the file states them.
        independent: whether requests may share a run, as a row's answer depends on it alone.
        applied: layers of confinement that hold.
        missing: those this host does not give, and why.
    """

    inputs: Sequence[TensorFacts]
    outputs: Sequence[TensorFacts]
    classes: Sequence[Any] | None
    independent: bool
    applied: Mapping[str, str]
    missing: Mapping[str, str]

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, in order."""
        return tuple(each.name for each in self.outputs)

    @cached_property
    def input_names(self) -> frozenset[str]:
        """The names of the inputs."""
        return frozenset(each.name for each in self.inputs)


class _Channel(asyncio.Protocol):
    """Frames over a socket, one question at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self.transport: asyncio.Transport | None = None
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect the answer, and hand it over once it is whole."""
        if self._answer is None or self._answer.done():
            self._end(WorkerGone("it spoke unasked"))
            return
        self._received += data
        size = int.from_bytes(self._received[: wire.LENGTH], "big")
        if size > wire.MAX_BYTES:
            self._end(WorkerGone(f"it spoke nonsense: a frame of {size} bytes"))
        elif len(self._received) == wire.LENGTH + size:
            self._answer.set_result(bytes(memoryview(self._received)[wire.LENGTH :]))
            self._received = bytearray()
        elif len(self._received) > wire.LENGTH + size:
            self._end(WorkerGone("it spoke nonsense: more than one answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        del exc
        self._end(WorkerGone(""))

    def _end(self, error: WorkerGone) -> None:
        self.gone = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        if self.transport is not None:
            self.transport.abort()

    async def ask(self, parts: Sequence[wire.Buffer]) -> bytes:
        """Send a frame and return the body of the answer.

        Raises:
            WorkerGone: with the cause, or empty if the socket just closed.
        """
        if self.gone or self.transport is None:
            raise WorkerGone("")
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.writelines(parts)
        return await self._answer


class PredictProcess:
    """One live worker. Not for concurrent use: one run at a time."""

    def __init__(self, process: Process, channel: _Channel, errors: asyncio.Task[str]) -> None:
        self._process = process
        self._channel = channel
        self._errors = errors
        self._greedy = False
        self.loaded = Loaded((), (), None, independent=False, applied={}, missing={})

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
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_connection(_Channel, sock=here)
        worker = cls(process, channel, errors)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await worker._ask([frames.encode({"memory_bytes": memory_bytes})])
            worker.loaded = _loaded(answer)
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
        return self._process.returncode is None and not self._channel.gone

    async def run(self, items: Sequence[wire.Item], *, timeout_s: float) -> list[wire.Group]:
        """Run requests; return their outcomes in order, neighbours with one outcome together.

        After :class:`WorkerGone` or a TimeoutError the worker is of no more use: close it.

        Raises:
            WorkerGone: it died.
            TimeoutError: no answer in time.
            predict_wire.BadFrame: the requests are too large for one frame.
        """
        frame = wire.run_frame(items)
        async with asyncio.timeout(timeout_s):
            body = await self._ask(frame)
        try:
            read = wire.read_answer
            groups = await asyncio.to_thread(read, body) if len(body) > LARGE else read(body)
            _check(groups, items, self.loaded)
        except wire.BadFrame as error:
            raise WorkerGone(f"it spoke nonsense: {error}") from error
        return groups

    def limit_memory(self, limit: int) -> None:
        """End it if it holds more than ``limit`` bytes now, in what way ever it got them.

        RLIMIT_DATA counts private memory alone (getrlimit(2)); this is for shared pages too.
        """
        if self.alive and memory_held(self.pid) > limit:
            self._greedy = True
            self._process.kill()

    async def close(self) -> None:
        """Kill it and reap it; harmless when it is dead."""
        code = await launch.end(self._process)
        if self._channel.transport is not None:
            self._channel.transport.close()
        errors = await self._errors
        if errors.strip():
            log.info("predict worker %d (%s): %s", self.pid, launch.death(code), errors)

    async def _ask(self, parts: Sequence[wire.Buffer]) -> bytes:
        try:
            return await self._channel.ask(parts)
        except WorkerGone as error:
            if self._greedy:
                raise TooMuchMemory("it held more memory than it may") from error
            if str(error):
                raise
            cause = launch.death(await launch.end(self._process))
            raise WorkerGone(f"it died of {cause}") from error


def memory_held(pid: int) -> int:
    """Return the bytes of memory that are a process's own: not those of files; 0 once it is gone.

    proc_pid_status(5): RssAnon and RssShmem, in KiB.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    kept = (line.split() for line in status.splitlines() if line.startswith(_OWN))
    return 1024 * sum(int(words[1]) for words in kept)


def _check(groups: Sequence[wire.Group], items: Sequence[wire.Item], loaded: Loaded) -> None:
    """Believe nothing: as many outcomes as requests, and tensors of the size they state.

    Raises:
        predict_wire.BadFrame: says what is wrong.
    """
    if sum(group.count for group in groups) != len(items):
        raise wire.BadFrame("not one outcome per request")
    first = 0
    for group in groups:
        rows = sum(item.rows for item in items[first : first + group.count])
        first += group.count
        if group.status == wire.DONE and len(group.outputs) != len(loaded.outputs):
            raise wire.BadFrame("not one tensor per output")
        for output in group.outputs:
            _check_output(output, rows, alone=group.count == 1)


def _check_output(output: wire.Output, rows: int, *, alone: bool) -> None:
    count = 1
    for size in output.shape:
        count *= size
    width = wire.WIDTHS[output.datatype]
    if width and count * width != len(output.data):
        raise wire.BadFrame("a tensor of another size than its shape")
    if output.per_row and output.shape[0] != rows:
        raise wire.BadFrame("an output with other rows than the requests")
    if output.per_row and not width and not alone and not output.offsets:
        raise wire.BadFrame("texts without offsets")


async def _launch(model: Path) -> tuple[socket.socket, Process]:
    """Start the program with its end of a socket and the open model; return our end."""
    fd = os.open(model, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        here, there = socket.socketpair()
        for end in (here, there):  # the kernel gives as much of it as it may
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        try:
            with there:
                fds = (there.fileno(), fd)
                return here, await launch.start(_WORKER, cwd=Path("/"), fds=fds)
        except BaseException:
            here.close()
            raise
    finally:
        os.close(fd)


def _loaded(body: bytes) -> Loaded:
    try:
        answer = frames.decode(body)
        if "unusable" in answer:
            raise ModelUnusable(str(answer["unusable"]))
        classes, confinement = answer["classes"], answer["confinement"]
        return Loaded(
            inputs=[_tensor(item) for item in answer["inputs"]],
            outputs=[_tensor(item) for item in answer["outputs"]],
            classes=classes if isinstance(classes, list) else None,
            independent=answer["independent"] is True,
            applied=dict(confinement["applied"]),
            missing=dict(confinement["missing"]),
        )
    except (frames.BadFrame, KeyError, TypeError, ValueError) as error:
        raise WorkerGone(f"it did not say what it loaded: {error}") from error


def _tensor(item: Mapping[str, Any]) -> TensorFacts:
    return TensorFacts(str(item["name"]), str(item["datatype"]), tuple(map(int, item["shape"])))
