"""Submit to first line of user code, beside a bare ``docker run`` of the same image and flags.

Each round measures, in turns: (a) one job through the daemon's HTTP door, on the docker backend;
(b) ``docker run`` from the command line with the same image, limits and hardening flags, and the same
guest command. Both stamp the time in the first line of the user's function. Clocks are one host's.

    python benchmarks/start_latency.py [--rounds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parent))
from noop_daemon import PACKAGE, noop_daemon

from trainbox.engine.staging import CodeStage
from trainbox_guest.protocol import GuestSpec
from trainbox_sdk.testing.daemon import DaemonProcess

RESULTS = Path(__file__).parent / "results" / "start_latency.md"


def image_id() -> str:
    """Return the tabular environment's newest image."""
    out = subprocess.run(
        [
            "docker",
            "images",
            "--filter",
            "label=trainbox.environment=tabular",
            "--no-trunc",
            "--format",
            "{{.ID}}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if not out:
        sys.exit("no tabular image: run `trainbox images build --backend docker` first")
    return out[0]


def docker_run(image: str, code: Path, folder: Path) -> tuple[float, float]:
    """Return seconds to the first user line and to the command's end, for one bare container."""
    attempt = folder / uuid4().hex
    out = attempt / "out"
    scratch = attempt / "scratch"
    for path in (out, scratch):
        path.mkdir(parents=True)
        shutil.chown(path, 10001, 10001)
    events = attempt / "events.jsonl"
    events.touch()
    shutil.chown(events, 10001, 10001)
    spec = attempt / "spec.json"
    spec.write_text(GuestSpec(entry=f"{PACKAGE}.guest:main", task="noop", params={}).to_json())
    mounts = [
        (spec, "/trainbox/in/spec.json", True),
        (code, "/trainbox/in/code", True),
        (out, "/trainbox/out", False),
        (scratch, "/trainbox/scratch", False),
        (events, "/trainbox/events.jsonl", False),
    ]
    argv = [
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--user",
        "10001:10001",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges:true",
        "--init",
        "--pids-limit",
        "256",
        "--cpus",
        "1",
        "--memory",
        "256m",
        "--memory-swap",
        "256m",
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "core=0:0",
        "--ipc",
        "private",
        "--cgroupns",
        "private",
        "--oom-score-adj",
        "500",
        "--log-opt",
        "max-size=8m",
        "--tmpfs",
        "/tmp:rw,nosuid,nodev,noexec,size=32m,nr_inodes=16384,mode=1777",
    ]
    for source, target, read_only in mounts:
        argv += [
            "--mount",
            f"type=bind,src={source},dst={target}" + (",readonly" if read_only else ""),
        ]
    for name, value in {
        "PYTHONPATH": "/trainbox/in/code",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TRAINBOX_SPEC": "/trainbox/in/spec.json",
        "DATASET_PATH": "/dev/null",
        "MODEL_OUTPUT_PATH": "/trainbox/out",
        "TRAINBOX_SCRATCH": "/trainbox/scratch",
        "TRAINBOX_EVENTS": "/trainbox/events.jsonl",
    }.items():
        argv += ["--env", f"{name}={value}"]
    argv += [image, "/opt/trainbox/bin/python", "-u", "-m", "trainbox_guest.main"]
    start = time.time()
    subprocess.run(argv, check=True, capture_output=True)
    end = time.time()
    first = next(
        json.loads(line)["value"] for line in events.read_text().splitlines() if '"metric"' in line
    )
    return first - start, end - start


def through_daemon(daemon: DaemonProcess) -> tuple[float, float]:
    """Return the same two figures for one job through the daemon."""
    start = time.time()
    job = daemon.submit("noop", backend="docker")
    events = list(daemon.stream(job))
    first = next(e["data"]["value"] for e in events if e["kind"] == "metric")
    done = next(e for e in events if e["kind"] == "state" and e["data"]["state"] == "succeeded")
    return first - start, datetime.fromisoformat(done["at"]).timestamp() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    image = image_id()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        code = asyncio.run(_stage(root))
        with noop_daemon(root, backends=("docker",)) as daemon:
            through_daemon(daemon)  # the environment is looked up once per daemon
            bare: list[tuple[float, float]] = []
            ours: list[tuple[float, float]] = []
            for _ in range(rounds):
                bare.append(docker_run(image, code, root))
                ours.append(through_daemon(daemon))
    report(rounds, bare, ours)


async def _stage(root: Path) -> Path:
    stage = root / "code"
    stage.mkdir()
    return await CodeStage(stage).stage((f"{PACKAGE}.guest",))


def report(rounds: int, bare: list[tuple[float, float]], ours: list[tuple[float, float]]) -> None:
    rows = []
    for position, what in enumerate(("first line of user code", "command or job over")):
        b = sorted(item[position] * 1000 for item in bare)
        o = sorted(item[position] * 1000 for item in ours)
        ratio = statistics.median(o) / statistics.median(b)
        rows.append(
            f"| {what} | {statistics.median(b):.0f} ({b[0]:.0f}) | {statistics.median(o):.0f} "
            f"({o[0]:.0f}) | {ratio:.2f} |"
        )
    text = "\n".join(
        [
            f"Submit to user code, {rounds} rounds in turns, {datetime.now(UTC):%Y-%m-%d}. "
            "Milliseconds: median (minimum).",
            "",
            "| until | `docker run`, same image and flags | through the daemon | ratio |",
            "|---|---|---|---|",
            *rows,
            "",
            "The daemon's figures include HTTP, validation, two durable commits before the container is "
            "created, and for the second row collection and the durable success; `docker run`'s second "
            "row includes `--rm`.",
        ]
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
