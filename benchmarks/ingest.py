"""A large CSV through the real daemon over HTTP, beside DuckDB alone on the same file.

The file is made on disk, a block at a time. The upload is one raw body of blocks. Peak memory is
``VmHWM`` of /proc/PID/status: of the daemon, and of the confined worker that reads the upload.

    python benchmarks/ingest.py [--bytes 1000000000] [--rounds 1]
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from trainbox_sdk.testing.daemon import DaemonProcess

RESULTS = Path(__file__).parent / "results" / "ingest.md"
BLOCK = 1024**2
BLOCK_ROWS = 10_000
HEADER = "id,when,shop,amount,items,returned,score,comment\n"
_PHASES = re.compile(r"read in ([0-9.]+) s, profiled in ([0-9.]+) s")

ALONE = """
import resource, sys, time
import duckdb
source, target = sys.argv[1:]
connection = duckdb.connect(config={"threads": 2, "memory_limit": "1GB"})
connection.execute("SET enable_progress_bar = false")
began = time.monotonic()
connection.execute(
    f"COPY (SELECT * FROM read_csv('{source}')) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
)
read = time.monotonic()
connection.execute(f"SUMMARIZE SELECT * FROM '{target}'").fetchall()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(read - began, time.monotonic() - read, peak // 1024)
"""


@dataclass
class Run:
    """Seconds and MiB of one round."""

    upload_s: float
    ingest_s: float
    read_s: float
    profile_s: float
    daemon_mib: int
    daemon_before_mib: int
    worker_mib: int
    alone_read_s: float
    alone_profile_s: float
    alone_mib: int


def generate(path: Path, size: int) -> int:
    """Write a CSV of at least ``size`` bytes and return its rows."""
    rests = _rests(random.Random(1))
    start = date(1990, 1, 1)
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        while file.tell() < size:
            day = start + timedelta(days=rows // BLOCK_ROWS)
            file.writelines(f"{row},{day}T{rest}" for row, rest in enumerate(rests, rows))
            rows += BLOCK_ROWS
    return rows


def _rests(dice: random.Random) -> list[str]:
    """Return what follows the day in each row of a block."""
    rests = []
    for row in range(BLOCK_ROWS):
        second = row * 8
        amount = "" if row % 50 == 0 else f"{dice.uniform(1, 500):.2f}"
        flag = "true" if dice.random() < 0.03 else "false"
        comment = '"paid, at once"' if row % 3 else f'"order {row}, ""gift"""'
        rests.append(
            f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02},"
            f"shop{dice.randrange(200):03},{amount},"
            f"{dice.randrange(1, 30)},{flag},{dice.gauss(0, 1):.6f},{comment}\n"
        )
    return rests


def peak_mib(pid: int) -> int:
    """Return the most memory a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


class WorkerWatch(threading.Thread):
    """Notes the peak of every ingest worker of a daemon while it lives."""

    def __init__(self, daemon: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._daemon = daemon
        self._done = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self._done.wait(0.1):
            for pid in children(self._daemon):
                with suppress(OSError, IndexError):
                    if b"ingest_worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        self.peak = max(self.peak, peak_mib(pid))

    def end(self) -> int:
        """Stop looking; return the peak in MiB."""
        self._done.set()
        self.join()
        return self.peak


def children(pid: int) -> list[int]:
    """Return a process's descendants."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children(child)]
    return found


def upload(daemon: DaemonProcess, path: Path) -> tuple[float, float]:
    """Send the file; return seconds until it was sent, and from then until the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=1800)
    began = time.monotonic()
    connection.putrequest("POST", "/v1/datasets?name=bench&format=csv")
    connection.putheader("Authorization", f"Bearer {daemon.token}")
    connection.putheader("Content-Type", "text/csv")
    connection.putheader("Content-Length", str(path.stat().st_size))
    connection.endheaders()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            connection.send(block)
    sent = time.monotonic()
    response = connection.getresponse()
    body = response.read()
    if response.status != 201:
        raise SystemExit(f"{response.status}: {body.decode()}")
    return sent - began, time.monotonic() - sent


def measure(root: Path, path: Path) -> Run:
    """Run one round."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(path), str(root / "alone.parquet")],
        capture_output=True,
        text=True,
        check=True,
    )
    alone_read, alone_profile, alone_mib = done.stdout.split()
    with DaemonProcess(root / "state") as daemon:
        pid = daemon.pid
        before = peak_mib(pid)
        watch = WorkerWatch(pid)
        watch.start()
        upload_s, ingest_s = upload(daemon, path)
        worker_mib = watch.end()
        daemon_mib = peak_mib(pid)
        log = daemon.log_path.read_text()
    read_s, profile_s = map(float, _PHASES.findall(log)[-1])
    return Run(
        upload_s,
        ingest_s,
        read_s,
        profile_s,
        daemon_mib,
        before,
        worker_mib,
        float(alone_read),
        float(alone_profile),
        int(alone_mib),
    )


def table(run: Run, size: int, rows: int) -> str:
    """Return the result as Markdown."""
    lines = [
        f"# One CSV of {size / 1e9:.2f} GB, {rows:,} rows, 8 columns",
        "",
        f"Date: {datetime.now(UTC):%Y-%m-%d}. Two cores.",
        "",
        "| | trainbox | DuckDB alone | ratio |",
        "|---|---|---|---|",
        f"| upload over HTTP, hashed and on disk, s | {run.upload_s:.1f} | | |",
        f"| read to typed Parquet, s | {run.read_s:.1f} | {run.alone_read_s:.1f}"
        f" | {run.read_s / run.alone_read_s:.1f} |",
        f"| profile, s | {run.profile_s:.1f} | {run.alone_profile_s:.1f} (SUMMARIZE)"
        f" | {run.profile_s / run.alone_profile_s:.1f} |",
        f"| last byte sent to answer, s | {run.ingest_s:.1f} | | |",
        f"| peak memory of the daemon, MiB | {run.daemon_mib} (idle: {run.daemon_before_mib}) | | |",
        f"| peak memory of the reader, MiB | {run.worker_mib} | {run.alone_mib}"
        f" | {run.worker_mib / run.alone_mib:.1f} |",
        "",
        "DuckDB alone: `COPY (FROM read_csv) TO parquet`, 2 threads, memory_limit 1 GB: types from a",
        "sample, rows in any order, no look at encoding, quotes, line ends or surplus delimiters.",
        "trainbox decides types by every value, keeps the order, and confines the reader.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print and store the table of the quickest round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trainbox-bench-") as folder:
        root = Path(folder)
        path = root / "large.csv"
        rows = generate(path, options.bytes)
        runs = []
        for index in range(options.rounds):
            (root / str(index)).mkdir()
            runs.append(measure(root / str(index), path))
            print(json.dumps(vars(runs[-1])), flush=True)
        text = table(min(runs, key=lambda run: run.ingest_s), path.stat().st_size, rows)
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
