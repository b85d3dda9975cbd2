"""The process that runs one model: ``python -m trainbox.workers.predict_worker SOCKET MODEL``.

Both arguments are descriptors it inherits. It reads the whole model, gives up every right it can,
and only then lets onnxruntime look at the bytes. A model loaded from memory has no folder, so
external data resolves to nothing. It ends when the daemon closes the socket.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trainbox.workers import frames
from trainbox.workers import predict_wire as wire
from trainbox.workers.lockdown import lock_down

if TYPE_CHECKING:
    from trainbox.workers.tensors import Graph

OPEN_FILES = 64
FILE_BYTES = 1024

_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "failed to allocate")


def main() -> int:
    """Confine this process, load the model, answer requests."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    orders = frames.receive(sock)
    if orders is None:
        return 0
    with os.fdopen(int(sys.argv[2]), "rb") as file:
        model = file.read()
    report = lock_down(
        write=(),
        data_bytes=orders["memory_bytes"],
        file_bytes=FILE_BYTES,
        open_files=OPEN_FILES,
        cpu_s=None,
    )
    ready = {"confinement": {"applied": report.applied, "missing": report.missing}}
    try:
        graph = load(model)
        facts = frames.encode(ready | graph.facts())
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes make onnxruntime raise
        sock.sendall(frames.encode({"unusable": str(error)[:2000]}))
        return 0
    del model
    sock.sendall(facts)
    return serve(sock, graph)


def load(model: bytes) -> Graph:
    """Return the model, ready to run."""
    # Imported only now: these libraries start threads, and a process with threads cannot be
    # confined.
    import onnxruntime as ort

    from trainbox.workers.tensors import Graph

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # one large request would keep its memory for ever
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return Graph(ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


def serve(sock: socket.socket, graph: Graph) -> int:
    """Answer runs, one at a time, until the daemon hangs up."""
    while (body := frames.receive_bytes(sock)) is not None:
        groups = list(answer(graph, wire.read_run(memoryview(body))))
        sock.sendall(b"".join(wire.answer_frame(groups)))
        if any(group.status == wire.OUT_OF_MEMORY for group in groups):
            return 1  # a fresh process has a heap without holes
    return 0


def answer(graph: Graph, run: wire.Run) -> Iterator[wire.Group]:
    """Run requests: all good neighbours in one batch, and each alone if that fails."""
    columns = graph.together(run)
    if columns is None:
        yield from one_by_one(graph, run.items())
        return
    count = len(run.rows)
    group = attempt(graph, [columns], sum(run.rows), count)
    if stands(graph, group):
        yield group
        return
    for item in run.items():
        yield attempt(graph, [graph.columns(item)], item.rows)


def one_by_one(graph: Graph, items: Sequence[wire.Item]) -> Iterator[wire.Group]:
    """Run requests of which one at least is bad, so that each is looked at."""
    from trainbox.workers.tensors import BadInput

    waiting: list[tuple[wire.Item, list[Any]]] = []
    for item in items:
        try:
            columns = graph.columns(item)
        except BadInput as error:
            yield from batch(graph, waiting)
            waiting = []
            yield wire.Group(1, wire.BAD_INPUT, text=str(error)[:2000])
        else:
            waiting.append((item, columns))
    yield from batch(graph, waiting)


def batch(graph: Graph, requests: Sequence[tuple[wire.Item, list[Any]]]) -> Iterator[wire.Group]:
    """Run requests as one batch; where that fails or cannot be divided, one by one."""
    if not requests:
        return
    rows = sum(item.rows for item, _ in requests)
    group = attempt(graph, [columns for _, columns in requests], rows, len(requests))
    if stands(graph, group):
        yield group
        return
    for item, columns in requests:
        yield attempt(graph, [columns], item.rows)


def stands(graph: Graph, group: wire.Group) -> bool:
    """Whether the outcome of a batch can be told to each of its requests."""
    divided = group.status == wire.DONE and graph.splits(group.outputs)
    return group.count == 1 or group.status == wire.OUT_OF_MEMORY or divided


def attempt(
    graph: Graph, columns: Sequence[Sequence[Any]], rows: int, count: int = 1
) -> wire.Group:
    """Run the model once for ``count`` requests; whatever it raises is the group's outcome."""
    try:
        outputs = graph.run(columns, rows)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's graph makes it raise
        text = f"{type(error).__name__}: {error}"[:2000]
        greedy = isinstance(error, MemoryError) or any(word in text for word in _NO_MEMORY)
        return wire.Group(count, wire.OUT_OF_MEMORY if greedy else wire.FAILED, text=text)
    return wire.Group(count, wire.DONE, outputs)


if __name__ == "__main__":
    sys.exit(main())
