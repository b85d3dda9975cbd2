"""What is wrong with a request is said in one sentence, with 400; what a model breaks, with 503."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import struct
import zlib
from pathlib import Path

import aiohttp
import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

AGE = {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [1]}
CITY = {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Paris"]}
HEADER = "Inference-Header-Content-Length"


def post(daemon, body, path="/v2/models/churn/infer", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, answer = daemon.request("POST", path, data, headers=sent)
    return status, json.loads(answer)


def swapped(**changes):
    return {"inputs": [{**AGE, **changes}, CITY]}


def city(**changes):
    return {"inputs": [AGE, {**CITY, **changes}]}


BAD = {
    "no json": (b"{", "the request: Invalid JSON"),
    "a list": ([], "the request: "),
    "no inputs": ({}, "inputs: Field required"),
    "empty inputs": ({"inputs": []}, "inputs: "),
    "inputs no list": ({"inputs": {}}, "inputs: "),
    "id no text": ({"inputs": [AGE, CITY], "id": 7}, "id: "),
    "no name": ({"inputs": [{**AGE, "name": None}, CITY]}, "inputs.0.name: "),
    "unknown datatype": (swapped(datatype="FP8"), "inputs.0.datatype: "),
    "datatype of another input": (swapped(datatype="FP64"), "the model takes FP32"),
    "no shape": (swapped(shape=None), "inputs.0.shape: "),
    "empty shape": (swapped(shape=[]), "inputs.0.shape: "),
    "shape of floats": (swapped(shape=[1.5]), "inputs.0.shape.0: "),
    "negative size": (swapped(shape=[-1, 1]), "has the negative size -1 in its shape [-1, 1]"),
    "two negative sizes": (swapped(shape=[-1, -1]), "has the negative size"),
    "no rows": (swapped(shape=[0, 1], data=[]), "input 'age' has no rows"),
    "huge": (swapped(shape=[2**62, 4]), "has shape [4611686018427387904, 4]"),
    "huge rows": (swapped(shape=[2**62]), "rows, at most 10,000 are taken at a time"),
    "beyond 64 bits": (swapped(shape=[10**30]), "rows, at most 10,000 are taken"),
    "three dimensions": (swapped(shape=[1, 1, 1]), "not [n, 1] or [n]"),
    "two columns": (swapped(shape=[1, 2], data=[1, 2]), "has shape [1, 2], not [n, 1] or [n]"),
    "fewer values": (swapped(shape=[2, 1]), "input 'age' has 1 values in its data"),
    "more values": (swapped(data=[1, 2]), "input 'age' has 2 values in its data"),
    "no data": (swapped(data=None), "has neither data nor binary_data_size"),
    "text for a number": (swapped(data=["1"]), "has the string '1' at 0, which is no FP32"),
    "boolean for a number": (swapped(data=[True]), "has the boolean true at 0"),
    "nested too deep": (swapped(data=[[[1]]]), "has a list at 0"),
    "beyond float32": (swapped(data=[1e300]), "has a number that does not fit FP32"),
    "number beyond float64": (swapped(data=[10**400]), "has a number that does not fit FP32"),
    "number for a text": (city(data=[7]), "has the number 7 at 0, which is no BYTES"),
    "null for a text": (city(data=[None]), "has null at 0, which is no BYTES"),
    "NUL in a text": (city(data=["a\0b"]), "texts must not hold a NUL character"),
    "other rows": (city(shape=[2, 1], data=["a", "b"]), "has 2 rows, the first input has 1"),
    "missing": ({"inputs": [AGE]}, "input 'city' is missing; the model takes 'age', 'city'"),
    "unknown": ({"inputs": [AGE, CITY, {**AGE, "name": "x"}]}, "input 'x' is not one of the model"),
    "twice": ({"inputs": [AGE, CITY, AGE]}, "input 'age' is there twice"),
    "unknown output": (
        {"inputs": [AGE, CITY], "outputs": [{"name": "x"}]},
        "output 'x' is not one of the model; the model has 'score', 'label'",
    ),
    "output twice": (
        {"inputs": [AGE, CITY], "outputs": [{"name": "score"}] * 2},
        "an output is asked for twice",
    ),
    "binary output no flag": (
        {"inputs": [AGE, CITY], "parameters": {"binary_data_output": "yes"}},
        "binary_data_output must be true or false",
    ),
    "classification": (
        {"inputs": [AGE, CITY], "outputs": [{"name": "score", "parameters": {"classification": 3}}]},
        "the classification extension, which is not offered",
    ),
    "shared memory": (
        swapped(data=None, parameters={"shared_memory_region": "r"}),
        "shared memory, which is not offered",
    ),
    "binary size negative": (
        swapped(data=None, parameters={"binary_data_size": -4}),
        "binary_data_size must be a number of bytes",
    ),
    "binary size a flag": (
        swapped(data=None, parameters={"binary_data_size": True}),
        "binary_data_size must be a number of bytes",
    ),
    "binary beyond the body": (
        swapped(data=None, parameters={"binary_data_size": 2**70}),
        "but 0 bytes are left of the body",
    ),
    "both ways": (
        swapped(parameters={"binary_data_size": 4}),
        "has both data and binary_data_size",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "says"), BAD.values(), ids=BAD)
def test_bad_json(daemon: DaemonProcess, body, says: str) -> None:
    status, answer = post(daemon, body)
    assert status == 400
    assert answer.keys() == {"error"}
    assert says in answer["error"]


def binary_request(age=struct.pack("<f", 1), city=struct.pack("<I", 5) + b"Paris", **changes):
    document = {
        "inputs": [
            {"name": name, "shape": [1, 1], "datatype": kind, "parameters": {"binary_data_size": n}}
            for name, kind, n in (("age", "FP32", len(age)), ("city", "BYTES", len(city)))
        ]
    }
    head = json.dumps({**document, **changes}).encode()
    return head + age + city, len(head)


BAD_BINARY = {
    "too few bytes of numbers": ({"age": b"\0" * 3}, "input 'age' has 3 bytes; 1 values of FP32"),
    "too many bytes of numbers": ({"age": b"\0" * 8}, "input 'age' has 8 bytes"),
    "no bytes of text": ({"city": b""}, "input 'city' has 0 bytes, too few for 1 texts"),
    "text longer than its bytes": (
        {"city": struct.pack("<I", 2**32 - 1) + b"x"},
        "input 'city': element 0 says it is longer than what is left of the bytes",
    ),
    "bytes behind the text": (
        {"city": struct.pack("<I", 1) + b"abc"},
        "input 'city': 2 bytes are left after element 0",
    ),
    "text that is no UTF-8": (
        {"city": struct.pack("<I", 2) + b"\xff\xfe"},
        "input 'city': element 0 is not UTF-8 text",
    ),
    "NUL in a text": (
        {"city": struct.pack("<I", 3) + b"a\0b"},
        "input 'city': texts must not hold a NUL character",
    ),
}


@pytest.mark.parametrize(("parts", "says"), BAD_BINARY.values(), ids=BAD_BINARY)
def test_bad_binary(daemon: DaemonProcess, parts, says: str) -> None:
    body, length = binary_request(**parts)
    status, answer = post(daemon, body, **{HEADER: str(length)})
    assert (status, says in answer["error"]) == (400, True), answer


@pytest.mark.parametrize(
    ("length", "says"),
    [
        ("-1", "must be a number of bytes"),
        ("0", "the request"),
        ("1e3", "must be a number of bytes"),
        ("9" * 40, "must be a number of bytes"),
        ("999999", "but the body has"),
        ("3", "the request"),
    ],
)
def test_bad_header_length(daemon: DaemonProcess, length: str, says: str) -> None:
    status, answer = post(daemon, binary_request()[0], **{HEADER: length})
    assert (status, says in answer["error"]) == (400, True), answer


def test_bytes_behind_the_last_tensor(daemon: DaemonProcess) -> None:
    body, length = binary_request()
    status, answer = post(daemon, body + b"more", **{HEADER: str(length)})
    assert (status, answer["error"]) == (400, "4 bytes are left behind the last tensor")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(daemon: DaemonProcess, content_type: str) -> None:
    body, length = binary_request()
    status, _, answer = daemon.request(
        "POST",
        "/v2/models/churn/infer",
        body,
        headers={HEADER: str(length), "Content-Type": content_type},
    )
    assert status == 200, answer


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_bodies_that_cannot_be_unpacked(daemon: DaemonProcess, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    whole = pack(json.dumps({"inputs": [AGE, CITY]}).encode())
    assert post(daemon, whole, Content_Encoding=encoding)[0] == 200
    # aiohttp's own parser refuses spoilt deflate, at once or, in two pieces, by the body's time.
    spoilt = [whole[:-20], b"not packed at all"] if encoding == "gzip" else []
    for body in spoilt:
        status, answer = post(daemon, body, Content_Encoding=encoding)
        assert status == 400
        # Of deflate, aiohttp's parser itself refuses it, before any route is known.
        assert answer.get("error") or answer["code"] == "bad_request"
    bomb = pack(b" " * 80 * 1024**2)
    status, answer = post(daemon, bomb, Content_Encoding=encoding)
    assert status == 413
    assert answer["error"]


def test_a_token_that_may_not_predict_is_told_so_before_its_body(daemon: DaemonProcess) -> None:
    reader = daemon.call("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})
    for path in ("/v2/models/churn/infer", "/v2/models/churn/versions/1/infer"):
        status = daemon.request("POST", path, b"{}", token=reader["token"])[0]
        assert status == 403


def test_alias_and_version_at_once(daemon: DaemonProcess) -> None:
    path = "/v2/models/churn@best/versions/1/infer"
    status, answer = post(daemon, {"inputs": [AGE, CITY]}, path)
    assert status == 400
    assert "names an alias already" in answer["error"]


def test_unknown_paths_and_methods_answer_in_json(daemon: DaemonProcess) -> None:
    for method, path, wanted in (
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/churn/infer", 405),
        ("POST", "/v2/models/churn/ready", 405),
    ):
        status, _, answer = daemon.request(method, path)
        assert status == wanted
        assert json.loads(answer).keys() == {"error"}


def workers(daemon: DaemonProcess) -> set[int]:
    """Return the predict workers' process ids, by what the kernel knows."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"predict_worker" in command and parent == daemon.pid:
                found.add(int(entry.name))
    return found


def loops(count: float):
    tensor = {"name": "loops", "shape": [1, 1], "datatype": "FP32", "data": [count]}
    return json.dumps({"inputs": [tensor]}).encode()


async def test_a_worker_killed_in_a_run_costs_that_request_alone(daemon: DaemonProcess) -> None:
    """Two requests share the run that is killed: each is tried again alone, and answered."""
    head = {"Authorization": f"Bearer {daemon.token}"}
    url = f"{daemon.url}/v2/models/endless/infer"
    async with aiohttp.ClientSession(headers=head) as session:

        async def ask(count: float):
            async with session.post(url, data=loops(count)) as answer:
                return answer.status, await answer.json()

        assert (await ask(1))[0] == 200
        before = workers(daemon)
        hanging = asyncio.create_task(ask(1e15))
        await asyncio.sleep(0.3)
        victims = [pid for pid in before if _is_running(pid)]
        assert len(victims) == 1
        others = [asyncio.create_task(ask(n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.1)
        os.kill(victims[0], signal.SIGKILL)
        status, answer = await hanging
        assert status == 503
        assert "SIGKILL" in answer["error"]
        assert [status for status, _ in await asyncio.gather(*others)] == [200] * 3
    assert daemon.request("GET", "/v2/health/ready", token=None)[0] == 200


def _is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"
