"""A real daemon that serves real ONNX models, put into its store without training them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainbox.blobs import BlobStore
from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import NewArtifact, NewJob, NewModel
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import Output, StepPlan
from trainbox_sdk.testing.daemon import DaemonProcess

OWNER = "local"
"""Whom the daemon's first token speaks for."""


def column(name: str, element: int, width: int | None = 1) -> Any:
    return helper.make_tensor_value_info(name, element, ["N"] if width is None else ["N", width])


def graph(nodes: Any, inputs: Any, outputs: Any, weights: Any = (), **facts: str) -> bytes:
    built = helper.make_graph(nodes, "test", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(built, opset_imports=opsets, ir_version=10)
    for key, value in facts.items():
        model.metadata_props.add(key=f"trainbox.{key}", value=value)
    return bytes(model.SerializeToString())


def churn(step: float) -> bytes:
    """score = age * step + the city's code; label = the city again; rows on their own."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["", "Paris", "København"],
            values_floats=[-5.0, 10.0, 20.0],
            default_float=-100.0,
        ),
        helper.make_node("Mul", ["age", "step"], ["scaled"]),
        helper.make_node("Add", ["scaled", "code"], ["score"]),
        helper.make_node("Identity", ["city"], ["label"]),
    ]
    weight = numpy_helper.from_array(np.array([[step]], np.float32), "step")
    return graph(
        nodes,
        [column("age", TensorProto.FLOAT), column("city", TensorProto.STRING)],
        [column("score", TensorProto.FLOAT), column("label", TensorProto.STRING)],
        [weight],
        rows="independent",
    )


ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def echo() -> bytes:
    """Gives back an input of each datatype, flat ones too."""
    nodes, inputs, outputs = [], [], []
    for name, element in ELEMENTS.items():
        nodes.append(helper.make_node("Identity", [name], [f"{name}_out"]))
        width = None if name in {"INT64", "BYTES"} else 1
        inputs.append(column(name, element, width))
        outputs.append(column(f"{name}_out", element, width))
    return graph(nodes, inputs, outputs, rows="independent")


def sums() -> bytes:
    """Answers the sum over all rows of a request: rows that must not share a run."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=1),
        helper.make_node("Mul", ["x", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "total"], ["sum"]),
    ]
    zero = numpy_helper.from_array(np.array([[0]], np.float32), "zero")
    return graph(nodes, [column("x", 1)], [column("sum", 1)], [zero])


def broken() -> bytes:
    return b"not a model"


def endless() -> bytes:
    """Loops as often as its input says."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("Sin", ["v_in"], ["v_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_in", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, [1]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["loops"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["trips"], to=TensorProto.INT64),
        helper.make_node("Loop", ["trips", "yes", "seed"], ["turned"], body=body),
        helper.make_node("Add", ["loops", "turned"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.array([1], np.float32), "seed"),
    ]
    return graph(nodes, [column("loops", 1)], [column("y", 1)], weights, rows="independent")


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def shelve(store: Store, blobs: BlobStore, name: str, data: bytes) -> str:
    """Put a model into the store as a job that succeeded leaves it."""
    blob = await blobs.put_stream(chunks(data), len(data))
    plan = StepPlan("train", "demo:main", ("demo",), "tabular", outputs=(Output("model.onnx"),))
    job = NewJob(
        id=new_id("job"),
        owner=OWNER,
        spec=JobSpec(task="regression", name=name),
        resources=Resources(cpus=1.0, memory_bytes=10**9, timeout_s=60.0),
        backend="process",
        steps=(plan,),
        idempotency_key=None,
        request_digest=blob.digest,
    )
    inserted = await store.jobs.insert(job, audit="test")
    step = await store.jobs.begin_attempt(
        inserted.job.steps[0].id, deadline_at=datetime(2031, 1, 1, tzinfo=UTC)
    )
    for before, after in (
        (State.PREPARING, State.RUNNING),
        (State.RUNNING, State.COLLECTING),
        (State.COLLECTING, State.VERIFYING),
    ):
        assert step is not None
        step = await store.jobs.transition(step, before, after)
    assert step is not None
    made = NewArtifact(new_id("art"), "model.onnx", "model", blob.digest, len(data), "x/y")
    signature = {"inputs": [{"name": "age", "type": "number", "dtype": "float"},
                            {"name": "city", "type": "string", "dtype": "string"}],
                 "outputs": [{"name": "score", "type": "number"}]}  # fmt: skip
    model = NewModel(new_id("mdl"), name, made.id, signature, {}, {})
    done = await store.jobs.succeed(step, State.VERIFYING, artifacts=[made], model=model)
    assert done is not None
    return model.id


@pytest.fixture(scope="session")
def shelf() -> Any:
    """The models above, and how to put them into a store."""

    class Shelf:
        owner = OWNER
        elements = ELEMENTS

    for maker in (churn, echo, sums, broken, endless, shelve):
        setattr(Shelf, maker.__name__, staticmethod(maker))
    return Shelf


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with ``churn`` (two versions), ``echo``, ``sums``, ``broken`` and ``endless``."""
    state = tmp_path_factory.mktemp("oip") / "state"
    state.mkdir()
    asyncio.run(_furnish(state))
    env = {"TRAINBOX_PREDICT_TIMEOUT_S": "10", "TRAINBOX_PREDICT_WORKERS": "3"}
    with DaemonProcess(state, env=env) as running:
        yield running


async def _furnish(state: Path) -> None:
    blobs = BlobStore(state / "blobs")
    store = await Store.open(state)
    try:
        for name, data in (
            ("churn", churn(1.0)),
            ("churn", churn(2.0)),
            ("echo", echo()),
            ("sums", sums()),
            ("broken", broken()),
            ("endless", endless()),
        ):
            await shelve(store, blobs, name, data)
    finally:
        await store.close()
