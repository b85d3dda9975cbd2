"""The process that runs one model: ``python -m trainbox.workers.predict_worker SOCKET MODEL``.

Both arguments are descriptors it inherits. It reads the whole model, gives up every right it can,
and only then lets onnxruntime look at the bytes. A model loaded from memory has no folder, so
external data resolves to nothing. It ends when the daemon closes the socket.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from trainbox.workers import frames
from trainbox.workers.lockdown import lock_down

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
        session, facts = load(model)
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes make onnxruntime raise
        sock.sendall(frames.encode({"unusable": str(error)[:2000]}))
        return 0
    del model
    sock.sendall(frames.encode(ready | facts))
    return serve(sock, session)


def load(model: bytes) -> tuple[Any, dict[str, Any]]:
    """Return a session and the facts the daemon needs: inputs and class labels."""
    # Imported only now: these libraries start threads, and a process with threads cannot be
    # confined.
    import onnxruntime as ort

    from trainbox.workers.tensors import check_inputs

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # one large request would keep its memory for ever
    options.add_session_config_entry("session.load_model_format", "ONNX")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    check_inputs(session.get_inputs())
    inputs = {value.name: value.type for value in session.get_inputs()}
    stated = session.get_modelmeta().custom_metadata_map.get("trainbox.classes", "null")
    return session, {"inputs": inputs, "classes": json.loads(stated)}


def serve(sock: socket.socket, session: Any) -> int:
    """Answer requests, one at a time, until the daemon hangs up."""
    while (request := frames.receive(sock)) is not None:
        try:
            answer = frames.encode({"outputs": predict(session, request["columns"])})
        except Exception as error:  # noqa: BLE001 - whatever a stranger's graph makes it raise
            text = f"{type(error).__name__}: {error}"[:2000]
            if isinstance(error, MemoryError) or any(word in text for word in _NO_MEMORY):
                sock.sendall(frames.encode({"out_of_memory": text}))
                return 1  # a fresh process has a heap without holes
            answer = frames.encode({"failed": text})
        sock.sendall(answer)
    return 0


def predict(session: Any, columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Run the model on columns of JSON values; outputs by name, as JSON values."""
    from trainbox.workers.tensors import feed_of, jsonable

    outputs = session.run(None, feed_of(session.get_inputs(), columns))
    names = [value.name for value in session.get_outputs()]
    return {name: jsonable(output) for name, output in zip(names, outputs, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
