"""What predictions are measured beside: the handler one writes in an afternoon.

    python benchmarks/predict_peer.py MODEL PORT

aiohttp, and onnxruntime called inline, in the event loop, once per request: no token, no checks of what
comes in, no other process. ``POST /json`` takes rows as trainbox's own route does, ``POST /binary`` the
Open Inference Protocol's binary form.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
from aiohttp import web

DTYPES = {"FP32": np.float32, "INT64": np.int64}
KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(string)": np.object_}


def session(path: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def texts(raw: bytes) -> list[str]:
    place, found = 0, []
    while place < len(raw):
        (size,) = struct.unpack_from("<I", raw, place)
        found.append(raw[place + 4 : place + 4 + size].decode())
        place += 4 + size
    return found


def pack(values: Any) -> bytes:
    if values.dtype.kind != "O":
        return bytes(values.tobytes())
    return b"".join(struct.pack("<I", len(v)) + v for v in (t.encode() for t in values.ravel()))


def read_binary(body: bytes, length: int) -> dict[str, Any]:
    document, place, feed = json.loads(body[:length]), length, {}
    for item in document["inputs"]:
        size = item["parameters"]["binary_data_size"]
        raw = body[place : place + size]
        place += size
        if item["datatype"] == "BYTES":
            values = np.array(texts(raw), dtype=np.object_)
        else:
            values = np.frombuffer(raw, DTYPES[item["datatype"]])
        feed[item["name"]] = values.reshape(item["shape"])
    return feed


def read_rows(inputs: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    feed = {}
    for value in inputs:
        column = [row[value.name] for row in rows]
        if value.type == "tensor(int64)":
            column = np.array(column, dtype="datetime64[s]").astype(np.int64)
        feed[value.name] = np.array(column, dtype=KINDS[value.type]).reshape(-1, 1)
    return feed


def write_rows(outputs: dict[str, Any]) -> bytes:
    if "classes" not in outputs:
        rows = [{"prediction": value} for value in outputs["prediction"].ravel().tolist()]
        return json.dumps({"rows": rows}).encode()
    labels = outputs["classes"].tolist()
    rows = [
        {"prediction": prediction, "probabilities": dict(zip(labels, probabilities, strict=True))}
        for prediction, probabilities in zip(
            outputs["prediction"].ravel().tolist(), outputs["probabilities"].tolist(), strict=True
        )
    ]
    return json.dumps({"rows": rows}).encode()


def write_binary(outputs: dict[str, Any]) -> tuple[bytes, int]:
    names = {"f": "FP32", "i": "INT64", "O": "BYTES"}
    items, behind = [], []
    for name, values in outputs.items():
        raw = pack(values)
        behind.append(raw)
        items.append(
            {
                "name": name,
                "datatype": names[values.dtype.kind],
                "shape": values.shape,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
    head = json.dumps({"outputs": items}).encode()
    return head + b"".join(behind), len(head)


def main(path: str, port: str) -> None:
    model = session(path)
    names = [value.name for value in model.get_outputs()]

    def run(feed: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(names, model.run(None, feed), strict=True))

    async def rows(request: web.Request) -> web.Response:
        feed = read_rows(model.get_inputs(), json.loads(await request.read())["rows"])
        return web.Response(body=write_rows(run(feed)), content_type="application/json")

    async def binary(request: web.Request) -> web.Response:
        length = int(request.headers["Inference-Header-Content-Length"])
        body, head = write_binary(run(read_binary(await request.read(), length)))
        return web.Response(body=body, headers={"Inference-Header-Content-Length": str(head)})

    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_post("/json", rows)
    app.router.add_post("/binary", binary)
    web.run_app(app, host="127.0.0.1", port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
