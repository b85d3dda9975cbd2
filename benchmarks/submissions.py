"""Durable ``POST /v1/jobs`` per second, beside a ceiling without a database and the usual way.

Load comes from wrk (Debian package ``wrk``), 64 connections, in rounds that take turns, so that a busy
minute hits all alike. The daemon's queue is held by one sleeping job: what is measured is acceptance.

    python benchmarks/submissions.py [--rounds 3] [--seconds 8]
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from noop_daemon import noop_daemon

from trainbox_sdk.testing.daemon import free_port

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "submissions.md"
BODY = '{"task":"noop","params":{"sleep_s":0},"name":"bench","priority":0}'
PEERS = {
    "bare": "aiohttp + pydantic, no database",
    "surface": "our surface, engine in memory",
    "sqlmodel": "SQLModel session per request",
}


def wrk(url: str, token: str, script: Path, seconds: int, connections: int) -> tuple[float, float]:
    """Return requests per second and p99 in milliseconds."""
    out = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "--timeout",
            "30s",
            "-s",
            str(script),
            "-H",
            f"Authorization: Bearer {token}",
            f"{url}/v1/jobs",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"the load failed:\n{out}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return rate, float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def start_peer(stack: ExitStack, kind: str, folder: Path) -> str:
    port = free_port()
    command = [sys.executable, str(HERE / "peers.py"), kind, str(port), str(folder)]
    process = subprocess.Popen(command)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:
            return url
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"peer {kind} did not start")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: apt-get install wrk")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("daemon", *PEERS)}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        script = root / "post.lua"
        script.write_text(
            f"wrk.method='POST'\nwrk.body='{BODY}'\n"
            "wrk.headers['Content-Type']='application/json'\n"
        )
        daemon = stack.enter_context(noop_daemon(root, backends=("process",)))
        blocker = daemon.submit(
            "noop", params={"sleep_s": 3000}, resources={"timeout_s": 3600}, priority=100
        )
        daemon.until(blocker, lambda job: job["state"] == "running", 300)
        sleeping = [blocker, *_fill(daemon)]
        urls = {name: start_peer(stack, name, root) for name in PEERS}
        for _ in range(options.rounds):
            for name, url in {"daemon": daemon.url, **urls}.items():
                found[name].append(
                    wrk(url, daemon.token, script, options.seconds, options.connections)
                )
        daemon.call("POST", "/v1/admin/drain")  # what waits is not to start now
        for job in sleeping:
            daemon.call("POST", f"/v1/jobs/{job}/cancel")
        for job in sleeping:  # its disk is unmounted with it, or the directory could not be deleted
            daemon.wait(job)
    report(options.rounds, options.connections, found)


def _fill(daemon: object) -> list[str]:
    """Take what capacity is left, so that no measured job starts; return who takes it."""
    jobs = []
    while len(jobs) < 64:
        job = daemon.submit(
            "noop", params={"sleep_s": 3000}, resources={"timeout_s": 3600}, priority=90
        )
        time.sleep(0.3)
        jobs.append(job)
        if daemon.job(job)["state"] == "queued":
            break
    return jobs


def report(rounds: int, connections: int, found: dict[str, list[tuple[float, float]]]) -> None:
    rate = {name: statistics.median(r for r, _ in values) for name, values in found.items()}
    p99 = {name: statistics.median(p for _, p in values) for name, values in found.items()}
    titles = {"daemon": "**trainbox daemon**, durable", **PEERS}
    rows = [
        f"| {titles[name]} | {rate[name]:.0f} | {p99[name]:.0f} | {rate['daemon'] / rate[name]:.2f} |"
        for name in titles
    ]
    text = "\n".join(
        [
            f"Submissions, {connections} connections, {rounds} rounds in turns, medians, "
            f"{datetime.now(UTC):%Y-%m-%d}.",
            "",
            "| server | requests/s | p99 ms | daemon ÷ this |",
            "|---|---|---|---|",
            *rows,
            "",
            "Every answer of the daemon and of SQLModel is on disk (`synchronous=FULL`) before it is "
            "sent. The daemon also authenticates the token, validates against the task's schema and "
            "writes job, step, event and audit rows.",
        ]
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
