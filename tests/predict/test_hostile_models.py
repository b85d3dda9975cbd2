"""Files that are no honest model, and a worker that has been taken over."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from trainbox.workers.predict_process import PredictProcess
from trainbox_sdk.errors import Unavailable

pytestmark = pytest.mark.hostile
SIGN = {"inputs": [{"name": "x", "type": "number", "dtype": "float"}]}


def external(location, models):
    """A graph whose weight lies in another file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        weight.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    tensor = helper.make_tensor_value_info
    x, y = (tensor(name, TensorProto.FLOAT, ["N", 1]) for name in "xy")
    return models.build(nodes, [x], [y], [weight])


async def assert_unusable(predictor, model, path):
    with pytest.raises(Unavailable) as caught:
        await predictor.predict(model, path, [{"x": 1}])
    assert caught.value.code == "model_unusable"
    assert predictor.workers() == {}
    return caught.value.message


@pytest.mark.parametrize("how", ["absolute", "beside", "above"])
async def test_weights_in_another_file_are_never_read(predictor, shelf, models, tmp_path, how):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.array([42], np.float32).tobytes())
    location = {"absolute": str(secret), "beside": "secret.bin", "above": f"..{secret}"}[how]
    model, path = shelf.put(external(location, models))
    message = await assert_unusable(predictor, model, path)
    assert "42" not in message.replace(model.digest, "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a model",
        b"\x08" * 10_000,
        b"\xff" * 1000,
        b"ORTM" + b"\0" * 100,
        bytes(range(256)),
    ],
)
async def test_bytes_that_are_no_model(predictor, shelf, data):
    await assert_unusable(predictor, *shelf.put_bytes(data, SIGN))


async def test_truncated_models(predictor, shelf, models):
    data = models.mixed().SerializeToString()
    for size in range(1, len(data), len(data) // 7):
        await assert_unusable(predictor, *shelf.put_bytes(data[:size], SIGN))


async def test_unknown_operator_and_domain(predictor, shelf, models):
    tensor = helper.make_tensor_value_info
    x, y = (tensor(name, TensorProto.FLOAT, ["N", 1]) for name in "xy")
    for domain, operator in (("", "Sleep"), ("evil", "Run")):
        node = helper.make_node(operator, ["x"], ["y"], domain=domain)
        await assert_unusable(predictor, *shelf.put(models.build([node], [x], [y])))


@pytest.mark.parametrize("shape", [[], ["N", "M", 2], [1, 1], ["N", 0], ["N", 2, 2, 2, 2]])
async def test_inputs_that_are_no_rows(predictor, shelf, models, shape):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    node = helper.make_node("Identity", ["x"], ["y"])
    await assert_unusable(
        predictor, *shelf.put_bytes(models.build([node], [x], [y]).SerializeToString(), SIGN)
    )


async def test_model_that_needs_more_memory_than_there_is_to_load(make_predictor, shelf, models):
    predictor = make_predictor(memory_bytes=256 * 1024**2)
    size = helper.make_node("Constant", [], ["n"], value_ints=[400_000_000])
    block = helper.make_node("ConstantOfShape", ["n"], ["big"])
    total = helper.make_node("ReduceSum", ["big"], ["s"], keepdims=0)
    node = helper.make_node("Add", ["x", "s"], ["y"])
    tensor = helper.make_tensor_value_info
    x, y = (tensor(name, TensorProto.FLOAT, ["N", 1]) for name in "xy")
    with pytest.raises(Unavailable):
        await predictor.predict(
            *shelf.put(models.build([size, block, total, node], [x], [y])), [{"x": 1}]
        )


async def test_link_in_place_of_the_model_is_not_followed(predictor, shelf, models, tmp_path):
    model, path = shelf.put(models.flat())
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(Unavailable) as caught:
        await predictor.predict(model, link, [{"a": 1}])
    assert caught.value.code == "predict_worker_failed"


async def test_what_the_kernel_says_of_a_worker(shelf, models):
    """A live worker, looked at from outside: what it cannot do any more."""
    _, path = shelf.put(models.flat())
    worker = await PredictProcess.start(path, memory_bytes=512 * 1024**2, timeout_s=120)
    try:
        proc = Path(f"/proc/{worker.pid}")
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        limits = (proc / "limits").read_text()
        assert "Max file size             1024" in limits
        assert f"Max data size             {512 * 1024**2}" in limits
        assert "Max core file size        0" in limits
        for layer, evidence in (
            ("syscalls", status["Seccomp"] == "2"),
            ("network", os.readlink(proc / "ns/net") != os.readlink("/proc/self/ns/net")),
            ("files", os.readlink(proc / "ns/mnt") != os.readlink("/proc/self/ns/mnt")),
        ):
            assert evidence == (layer in worker.loaded.applied), layer
            assert (layer in worker.loaded.applied) != (layer in worker.loaded.missing), layer
        environment = (proc / "environ").read_bytes()
        assert b"ORT_DISABLE_TELEMETRY=1" in environment
        assert not any(name.encode() + b"=" in environment for name in ("PYTHONPATH", "SECRET"))
        descriptors = [os.readlink(entry) for entry in (proc / "fd").iterdir()]
        assert not [name for name in descriptors if str(path) in name]
    finally:
        await worker.close()


async def test_a_worker_dies_with_its_daemon(shelf, models):
    _, path = shelf.put(models.flat())
    worker = await PredictProcess.start(path, memory_bytes=512 * 1024**2, timeout_s=120)
    transport = worker._channel.transport
    transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    assert await worker._process.wait() == 0
    await worker.close()
