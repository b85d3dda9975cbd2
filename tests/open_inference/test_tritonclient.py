"""NVIDIA's client for this protocol against the running daemon: sync, in a process of its own since
gevent patches what it touches, and asyncio."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

from trainbox_sdk.testing.daemon import DaemonProcess

HERE = Path(__file__).parent


@pytest.fixture
async def client(daemon: DaemonProcess):
    async with triton.InferenceServerClient(f"127.0.0.1:{daemon.port}") as made:
        yield made


@pytest.fixture
def headers(daemon: DaemonProcess) -> dict[str, str]:
    return {"Authorization": f"Bearer {daemon.token}"}


def tensor(name, values, datatype, *, binary=True):
    data = np.array(values)
    made = triton.InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def people(ages, cities, *, binary=True):
    return [
        tensor("age", np.array(ages, np.float32).reshape(-1, 1), "FP32", binary=binary),
        tensor("city", np.array(cities, np.object_).reshape(-1, 1), "BYTES", binary=binary),
    ]


CITIES = ["Paris", "København", "", "東京"]
SCORES = [[12.0], [24.0], [1.0], [-92.0]]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
async def test_numbers_and_strings_both_ways(client, headers, binary_in, binary_out):
    wanted = None
    if binary_out is not None:
        wanted = [
            triton.InferRequestedOutput("label", binary_data=binary_out),
            triton.InferRequestedOutput("score", binary_data=binary_out),
        ]
    result = await client.infer(
        "churn",
        people([1, 2, 3, 4], CITIES, binary=binary_in),
        outputs=wanted,
        headers=headers,
        request_id="a request",
    )
    assert result.as_numpy("score").tolist() == SCORES
    assert result.as_numpy("score").dtype == np.float32
    labels = [
        value.decode() if isinstance(value, bytes) else value
        for value in result.as_numpy("label").ravel().tolist()
    ]
    assert labels == CITIES
    answer = result.get_response()
    assert answer["id"] == "a request"
    assert (answer["model_name"], answer["model_version"]) == ("churn", "2")
    if wanted:
        assert [each["name"] for each in answer["outputs"]] == ["label", "score"]


async def test_one_output_of_two(client, headers):
    wanted = [triton.InferRequestedOutput("label")]
    result = await client.infer("churn", people([1], ["x"]), outputs=wanted, headers=headers)
    assert result.as_numpy("score") is None
    assert result.as_numpy("label").tolist() == [[b"x"]]


async def test_a_version_and_an_alias(client, headers, daemon):
    for version, score in (("1", 12.0), ("2", 14.0)):
        result = await client.infer(
            "churn", people([2], ["Paris"]), model_version=version, headers=headers
        )
        assert result.as_numpy("score").tolist() == [[score]]
        assert result.get_response()["model_version"] == version


async def test_missing_values_are_nan_and_the_empty_string(client, headers):
    result = await client.infer("churn", people([np.nan, 1], ["Paris", ""]), headers=headers)
    found = result.as_numpy("score").ravel()
    assert np.isnan(found[0])
    assert found[1] == -3.0
    as_json = [triton.InferRequestedOutput("score", binary_data=False)]
    result = await client.infer(
        "churn", people([np.nan], ["Paris"]), outputs=as_json, headers=headers
    )
    assert result.get_response()["outputs"][0]["data"] == [None]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
async def test_packed_requests(client, headers, algorithm):
    result = await client.infer(
        "churn",
        people([1, 2, 3, 4], CITIES),
        headers=headers,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("score").tolist() == SCORES


async def test_metadata(client, headers):
    server = await client.get_server_metadata(headers=headers)
    assert server["name"] == "trainbox"
    assert "binary_tensor_data" in server["extensions"]
    assert await client.get_model_metadata("churn", "1", headers=headers) == {
        "name": "churn",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
        ],
    }
    index = await client.get_model_repository_index(headers=headers)
    assert {(line["name"], line["version"]) for line in index} >= {("churn", "1"), ("churn", "2")}


async def test_health_without_a_token_and_models_with_one(client, headers):
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("churn", headers=headers)
    assert await client.is_model_ready("churn", "2", headers=headers)
    assert not await client.is_model_ready("churn")
    assert not await client.is_model_ready("churn", "3", headers=headers)
    assert not await client.is_model_ready("nobody", headers=headers)
    assert not await client.is_model_ready("broken", headers=headers)


async def test_errors_are_said_in_words(client, headers):
    async def refusal(*arguments, **keywords):
        with pytest.raises(InferenceServerException) as caught:
            await client.infer(*arguments, **keywords)
        return caught.value

    error = await refusal("nobody", people([1], ["x"]), headers=headers)
    assert error.status() == "404"
    assert "no model 'nobody'" in error.message()
    error = await refusal("churn", people([1], ["x"]))
    assert error.status() == "401"
    error = await refusal("churn", people([1], ["x", "y"]), headers=headers)
    assert error.status() == "400"
    assert "input 'city' has 2 rows, the first input has 1" in error.message()
    error = await refusal("churn", people([1], ["x"])[:1], headers=headers)
    assert "input 'city' is missing" in error.message()
    error = await refusal("broken", people([1], ["x"]), headers=headers)
    assert error.status() == "503"
    assert "cannot be served" in error.message()


async def test_64_at_once_each_get_their_own_answer(client, headers):
    async def ask(number):
        result = await client.infer(
            "churn", people([number, -number], ["Paris", str(number)]), headers=headers
        )
        assert result.as_numpy("score").ravel().tolist() == [2 * number + 10, -2 * number - 100]
        assert result.as_numpy("label").ravel().tolist()[1] == str(number).encode()

    await asyncio.gather(*(ask(number) for number in range(64) for _ in range(4)))


async def test_every_datatype(client, headers, shelf):
    kinds = {
        "BOOL": np.bool_,
        "FP16": np.float16,
        "FP32": np.float32,
        "FP64": np.float64,
        "BYTES": np.object_,
    }
    values = [[0], [1], [1]]
    sent = {}
    for name in shelf.elements:
        kind = kinds.get(name) or np.dtype(name.lower())
        data = np.array([["a"], ["ø"], [""]], np.object_) if name == "BYTES" else np.array(values)
        data = data.astype(kind)
        sent[name] = data.ravel() if name in {"INT64", "BYTES"} else data
    for binary in (True, False):
        # Its JSON writer does not know half-precision numbers.
        as_binary = {name: binary or name == "FP16" for name in sent}
        inputs = [tensor(name, data, name, binary=as_binary[name]) for name, data in sent.items()]
        result = await client.infer("echo", inputs, headers=headers)
        for name, data in sent.items():
            found = result.as_numpy(f"{name}_out")
            if name == "BYTES":
                assert [text.decode() for text in found.tolist()] == data.tolist()
            else:
                assert found.tolist() == data.tolist(), name
                assert found.dtype == data.dtype, name


async def test_rows_that_depend_on_their_neighbours_share_no_run(client, headers):
    async def ask(number):
        data = tensor("x", np.array([[number], [1]], np.float32), "FP32")
        result = await client.infer("sums", [data], headers=headers)
        assert result.as_numpy("sum").ravel().tolist() == [number + 1.0] * 2

    await asyncio.gather(*(ask(number) for number in range(32)))


def test_the_blocking_client(daemon: DaemonProcess) -> None:
    """It sends no Content-Type; it runs apart because it brings gevent."""
    done = subprocess.run(
        [sys.executable, str(HERE / "blocking_client.py"), str(daemon.port), daemon.token],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "all answered"
