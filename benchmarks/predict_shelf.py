"""A dense network, put into a daemon's store as a job that succeeded leaves a model.

Nobody trains it: what counts is that a run reads 34 MB of weights, for one row as for many.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from trainbox.blobs import BlobStore
from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import NewArtifact, NewJob, NewModel
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import Output, StepPlan

OWNER = "local"
LAYERS, WIDTH = 3, 2048


def dense(inputs: Sequence[str]) -> bytes:
    """Return a network of three hidden layers of 2048 over float columns; each row on its own."""
    rng = np.random.default_rng(3)
    nodes = [helper.make_node("Concat", list(inputs), ["h0"], axis=1)]
    weights, width = [], len(inputs)
    for at in range(LAYERS + 1):
        out = WIDTH if at < LAYERS else 1
        matrix = rng.normal(0, width**-0.5, (width, out)).astype(np.float32)
        weights += [
            numpy_helper.from_array(matrix, f"w{at}"),
            numpy_helper.from_array(np.zeros(out, np.float32), f"b{at}"),
        ]
        last = at == LAYERS
        nodes.append(
            helper.make_node(
                "Gemm", [f"h{at}", f"w{at}", f"b{at}"], ["prediction" if last else f"g{at}"]
            )
        )
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{at}"], [f"h{at + 1}"]))
        width = out
    column = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1])  # noqa: E731
    graph = helper.make_graph(
        nodes, "dense", [column(n) for n in inputs], [column("prediction")], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.metadata_props.add(key="trainbox.rows", value="independent")
    return bytes(model.SerializeToString())


def signature(inputs: Sequence[str]) -> Mapping[str, Any]:
    return {
        "inputs": [{"name": name, "type": "number", "dtype": "float"} for name in inputs],
        "outputs": [{"name": "prediction", "type": "number"}],
    }


def shelve(state: Path, name: str, data: bytes, described: Mapping[str, Any]) -> None:
    """Put a model into the store of a daemon that does not run."""
    asyncio.run(_shelve(state, name, data, described))


async def _shelve(state: Path, name: str, data: bytes, described: Mapping[str, Any]) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield data

    store = await Store.open(state)
    try:
        blob = await BlobStore(state / "blobs").put_stream(once(), len(data))
        step = StepPlan(
            "train", "bench:main", ("bench",), "tabular", outputs=(Output("model.onnx"),)
        )
        resources = Resources(cpus=1.0, memory_bytes=10**9, timeout_s=60.0)
        job = NewJob(
            id=new_id("job"),
            owner=OWNER,
            spec=JobSpec(task="regression", name=name),
            resources=resources,
            backend="process",
            steps=(step,),
            idempotency_key=None,
            request_digest=blob.digest,
        )
        inserted = await store.jobs.insert(job, audit="benchmark")
        deadline = datetime(2100, 1, 1, tzinfo=UTC)
        row = await store.jobs.begin_attempt(inserted.job.steps[0].id, deadline_at=deadline)
        states = (State.PREPARING, State.RUNNING, State.COLLECTING, State.VERIFYING)
        for before, after in pairwise(states):
            assert row is not None
            row = await store.jobs.transition(row, before, after)
        assert row is not None
        made = NewArtifact(
            new_id("art"), "model.onnx", "model", blob.digest, len(data), "application/onnx"
        )
        model = NewModel(new_id("mdl"), name, made.id, described, {}, {})
        assert (
            await store.jobs.succeed(row, State.VERIFYING, artifacts=[made], model=model)
            is not None
        )
    finally:
        await store.close()
