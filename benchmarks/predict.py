"""Predictions per second over HTTP, beside bare onnxruntime and a handler that calls it inline.

    python benchmarks/predict.py [--seconds 4] [--rounds 3] [--model-dir DIR]

Trains the tabular task with its defaults on 20,000 rows of 20 columns (numbers, texts, a boolean, a date),
and makes a dense network of 34 MB (``predict_shelf.py``), then asks three servers for the same predictions
in turns: the trainbox daemon, ``predict_peer.py``, and onnxruntime in this process with its arrays ready
made. wrk is the client, so the client does not decide the result.

Requests per core: answered requests divided by the processor seconds (user and system, from
/proc/PID/stat) that the server's processes used meanwhile: daemon and workers for trainbox, the one
process for the peer.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import predict_peer
import predict_shelf

from trainbox_sdk.testing.daemon import DaemonProcess, free_port

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
NUMBERS, TEXTS = 12, 6
HEADER = "Inference-Header-Content-Length"
SIZES = (1, 256)
TREES, DENSE = "bench-binclass", "dense"
SHAPES = {TREES: ((1, 1), (1, 64), (256, 1), (256, 64)), DENSE: ((1, 1), (1, 64), (256, 1))}
"""Model to (rows, connections)."""
ENV = {"TRAINBOX_ACCESS_LOG": "false"}
"""The peer writes no line per request either."""


def table(rows: int, seed: int = 7) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    found = []
    for _ in range(rows):
        row: dict[str, Any] = {f"n{i}": round(rng.gauss(0, 1 + i), 4) for i in range(NUMBERS)}
        row |= {f"s{i}": f"value {rng.randrange(4 + 3 * i)}" for i in range(TEXTS)}
        row["member"] = rng.random() < 0.5
        day = dt.date(2020, 1, 1) + dt.timedelta(days=rng.randrange(1500))
        row["joined"] = day.isoformat()
        score = row["n0"] + 0.5 * row["n1"] + (row["s0"] == "value 1") + row["member"]
        row["bought"] = "yes" if score + rng.gauss(0, 0.5) > 1 else "no"
        found.append(row)
    return found


def train(daemon: DaemonProcess) -> Any:
    out = io.StringIO()
    rows = table(20_000)
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    dataset = daemon.upload(out.getvalue().encode(), name="bench")
    job = daemon.submit(
        "binclass",
        dataset_id=dataset["id"],
        params={"target": "bought"},
    )
    ended = daemon.wait(job, 3600)
    if ended["state"] != "succeeded":
        raise SystemExit(f"training ended as {ended['state']}: {ended.get('reason')}")
    return daemon.call("GET", f"/v1/models/{ended['model_id']}")


def binary_request(feed: dict[str, Any]) -> tuple[bytes, int]:
    kinds = {"f": "FP32", "i": "INT64", "O": "BYTES"}
    inputs, behind = [], []
    for name, values in feed.items():
        raw = predict_peer.pack(values)
        behind.append(raw)
        inputs.append(
            {
                "name": name,
                "shape": list(values.shape),
                "datatype": kinds[values.dtype.kind],
                "parameters": {"binary_data_size": len(raw)},
            }
        )
    document = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    head = json.dumps(document).encode()
    return head + b"".join(behind), len(head)


def cpu_seconds(root: int) -> float:
    """Return what a process and its children have used; a predict worker lives as long as its run."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(entry.name) == root or int(fields[1]) == root:
                total += int(fields[11]) + int(fields[12])
    return total / TICKS


@dataclass
class Ask:
    """One kind of request to one server."""

    model: str
    server: str
    kind: str
    rows: int
    connections: int
    url: str
    body: bytes
    headers: dict[str, str]
    pid: int


@dataclass
class Seen:
    rate: float
    per_core: float
    p50_ms: float
    p99_ms: float


def milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def load(ask: Ask, seconds: float, folder: Path) -> Seen:
    body = folder / "body"
    body.write_bytes(ask.body)
    script = folder / "post.lua"
    lines = [
        'wrk.method = "POST"',
        f'local file = io.open("{body}", "rb")',
        'wrk.body = file:read("*a")',
    ]
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in ask.headers.items()]
    script.write_text("\n".join(lines))
    before, began = cpu_seconds(ask.pid), time.monotonic()
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{ask.connections}",
            f"-d{round(seconds)}s",
            "--timeout",
            "30s",
            "--latency",
            "-s",
            str(script),
            ask.url,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    spent, took = cpu_seconds(ask.pid) - before, time.monotonic() - began
    if "Non-2xx" in done or "Socket errors" in done:
        raise SystemExit(f"{ask.server} {ask.kind}: {done}")
    answered = int(re.search(r"(\d+) requests in", done)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1])  # type: ignore[index]
    p50, p99 = (
        milliseconds(re.search(rf"^\s+{p}%\s+(\S+)", done, re.MULTILINE)[1]) for p in (50, 99)
    )  # type: ignore[index]
    del took
    return Seen(rate, answered / max(spent, 1 / TICKS), p50, p99)


def bare(session: Any, feed: dict[str, Any], seconds: float) -> Seen:
    took: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        session.run(None, feed)
        took.append(time.perf_counter() - start)
    spent = time.process_time() - cpu
    whole = time.perf_counter() - began
    took.sort()
    at = lambda share: took[int(share * (len(took) - 1))] * 1e3  # noqa: E731
    return Seen(len(took) / whole, len(took) / spent, at(0.5), at(0.99))


def once(ask: Ask) -> bytes:
    request = urllib.request.Request(ask.url, data=ask.body, headers=ask.headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def asks(
    daemon: DaemonProcess, model: Any, peer: tuple[str, int], feeds: Any, rows: Any
) -> list[Ask]:
    token = {"Authorization": f"Bearer {daemon.token}"}
    as_json = {"Content-Type": "application/json"}
    found = []
    for size, connections in SHAPES[model["name"]]:
        binary, length = binary_request(feeds[size])
        document = json.dumps({"rows": rows[:size]}).encode()
        tensors = {HEADER: str(length)}
        place = f"{daemon.url}/v1/models/{model['id']}/predict"
        oip = f"{daemon.url}/v2/models/{model['id']}/infer"
        shape = (model["name"], size, connections)
        found += [
            ask("trainbox", "JSON", shape, place, document, token | as_json, daemon.pid),
            ask("inline", "JSON", shape, f"{peer[0]}/json", document, as_json, peer[1]),
            ask("trainbox", "binary", shape, oip, binary, token | tensors, daemon.pid),
            ask("inline", "binary", shape, f"{peer[0]}/binary", binary, tensors, peer[1]),
        ]
    return found


def ask(server: str, kind: str, shape: tuple[str, int, int], *given: Any) -> Ask:
    model, rows, connections = shape
    return Ask(model, server, kind, rows, connections, *given)


def agree(found: list[Ask]) -> None:
    """Have both servers say the same before any is timed."""
    by = {(a.server, a.kind, a.rows): a for a in found}
    for size in SIZES:
        ours, theirs = (
            json.loads(once(by[s, "JSON", size]))["rows"] for s in ("trainbox", "inline")
        )
        for our, their in zip(ours, theirs, strict=True):
            a, b = our["prediction"], their["prediction"]
            assert a == b if isinstance(a, str) else abs(a - b) < 1e-4, (a, b)


def key(ask: Ask) -> tuple[Any, ...]:
    return (ask.model, ask.server, ask.kind, ask.rows, ask.connections)


def report(model: str, results: dict[Any, list[Seen]], about: str) -> str:
    middle = lambda k, field: statistics.median(getattr(s, field) for s in results[k])  # noqa: E731
    lines = [
        about,
        "",
        "| rows | form | connections | server | requests/s | requests per CPU s | p50 ms | p99 ms | rate ÷ bare | per CPU ÷ bare | rate ÷ inline | per CPU ÷ inline |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        bare_key = (model, "bare onnxruntime", "arrays", size, 1)
        for kind in ("JSON", "binary"):
            for connections in (c for s, c in SHAPES[model] if s == size):
                for server in ("trainbox", "inline"):
                    k, inline = ((model, s, kind, size, connections) for s in (server, "inline"))
                    lines.append(
                        f"| {size} | {kind} | {connections} | {server} | {middle(k, 'rate'):.0f} | {middle(k, 'per_core'):.0f} "
                        f"| {middle(k, 'p50_ms'):.2f} | {middle(k, 'p99_ms'):.2f} | {middle(k, 'rate') / middle(bare_key, 'rate'):.2f} | {middle(k, 'per_core') / middle(bare_key, 'per_core'):.2f} | {middle(k, 'rate') / middle(inline, 'rate'):.2f} | {middle(k, 'per_core') / middle(inline, 'per_core'):.2f} |"
                    )
        lines.append(
            f"| {size} | arrays | 1 | bare onnxruntime | {middle(bare_key, 'rate'):.0f} | {middle(bare_key, 'per_core'):.0f} "
            f"| {middle(bare_key, 'p50_ms'):.2f} | {middle(bare_key, 'p99_ms'):.2f} | 1.00 | 1.00 | | |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--state", type=Path, help="state directory to keep the trained model in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        state = options.state or folder / "state"
        with DaemonProcess(state, env=ENV) as daemon:
            furnish(daemon, state)
            models = {m["name"]: m for m in daemon.call("GET", "/v1/models")["items"]}
            subjects = [Subject(daemon, models[name], folder) for name in (TREES, DENSE)]
            try:
                time.sleep(1.5)
                measure(subjects, options.rounds, options.seconds, folder)
            finally:
                for subject in subjects:
                    subject.close()


def furnish(daemon: DaemonProcess, state: Path) -> None:
    """See to it that the daemon has both models."""
    names = {m["name"] for m in daemon.call("GET", "/v1/models")["items"]}
    if TREES not in names:
        train(daemon)
    if DENSE not in names:
        daemon.stop()
        inputs = [f"n{i}" for i in range(NUMBERS)]
        predict_shelf.shelve(
            state, DENSE, predict_shelf.dense(inputs), predict_shelf.signature(inputs)
        )
        daemon.start()


class Subject:
    """One model, its inline server, and what is asked of both."""

    def __init__(self, daemon: DaemonProcess, model: Any, folder: Path) -> None:
        self.name = model["name"]
        _, _, onnx = daemon.request("GET", f"/v1/models/{model['id']}/onnx")
        path = folder / f"{self.name}.onnx"
        path.write_bytes(onnx)
        self.session = predict_peer.session(str(path))
        inputs = self.session.get_inputs()
        names = {value.name for value in inputs}
        rows = [{k: v for k, v in row.items() if k in names} for row in table(256, seed=9)]
        self.feeds = {n: predict_peer.read_rows(inputs, rows[:n]) for n in SIZES}
        self.about = f"{len(names)} columns, {len(onnx) / 1e6:.1f} MB"
        port = free_port()
        self._peer = subprocess.Popen([sys.executable, HERE / "predict_peer.py", path, str(port)])
        peer = (f"http://127.0.0.1:{port}", self._peer.pid)
        self.asks = asks(daemon, model, peer, self.feeds, rows)

    def close(self) -> None:
        self._peer.terminate()
        self._peer.wait()


def measure(subjects: list[Subject], rounds: int, seconds: float, folder: Path) -> None:
    results: dict[Any, list[Seen]] = {}
    for subject in subjects:
        agree(subject.asks)
    for number in range(rounds):
        for subject in subjects:
            for each in subject.asks if number % 2 == 0 else subject.asks[::-1]:
                results.setdefault(key(each), []).append(load(each, seconds, folder))
            for size in SIZES:
                seen = bare(subject.session, subject.feeds[size], seconds / 2)
                results.setdefault(
                    (subject.name, "bare onnxruntime", "arrays", size, 1), []
                ).append(seen)
    for subject in subjects:
        about = (
            f"Predictions of `{subject.name}` ({subject.about}), {rounds} rounds of {seconds:g} s in turns, "
            f"medians, {os.cpu_count()} cores, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}."
        )
        print(report(subject.name, results, about), end="\n\n")


if __name__ == "__main__":
    main()
