"""Submit to first line of user code, warm and cold, beside ``docker run`` and bare ``runc``.

Each round measures, in turns: (a) a job through a daemon whose sandboxes stand by; (b) one through a
daemon whose sandboxes start cold; (c) ``docker run`` from the command line with the same image,
limits and hardening flags, and the same guest command; (d) ``docker run`` of ``true`` with these
flags; (e) ``runc run``, and ``crun run`` where it is installed, over the same image's layers. All
stamp the time in the first line of the user's function. Clocks are one host's. Needs root.

    python benchmarks/start_latency.py [--rounds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parent))
from noop_daemon import PACKAGE, noop_daemon

from trainbox.engine.staging import CodeStage
from trainbox_guest.protocol import GuestSpec
from trainbox_plugins.docker_backend import seccomp
from trainbox_plugins.docker_backend.config import Config
from trainbox_sdk.testing.daemon import DaemonProcess

RESULTS = Path(__file__).parent / "results" / "start_latency.md"
GUEST = ["/opt/trainbox/bin/python", "-u", "-m", "trainbox_guest.main"]
UID = 10001
MEMORY = 256 * 1024**2
READY_S = 120.0

VARIABLES = {
    "PYTHONPATH": "/trainbox/in/code",
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "TRAINBOX_SPEC": "/trainbox/in/spec.json",
    "DATASET_PATH": "/dev/null",
    "MODEL_OUTPUT_PATH": "/trainbox/out",
    "TRAINBOX_SCRATCH": "/trainbox/scratch",
    "TRAINBOX_EVENTS": "/trainbox/events.jsonl",
}

FLAGS = [
    *("--network", "none", "--user", f"{UID}:{UID}", "--read-only", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges:true", "--init", "--pids-limit", "256", "--cpus", "1"),
    *("--memory", str(MEMORY), "--memory-swap", str(MEMORY), "--ulimit", "nofile=1024:1024"),
    *("--ulimit", "core=0:0", "--ulimit", "memlock=65536:65536", "--ipc", "private"),
    *("--ulimit", f"fsize={2 * 1024**3}:{2 * 1024**3}", "--cgroupns", "private"),
    *("--oom-score-adj", "500", "--log-opt", "max-size=8m", "--shm-size", "32m"),
    *("--tmpfs", "/tmp:rw,nosuid,nodev,noexec,size=32m,nr_inodes=16384,mode=1777"),
]

Seconds = tuple[float, float]
"""To the first line of user code, and to the end."""


def image_id() -> str:
    """Return the tabular environment's newest image."""
    listed = ["docker", "images", "--filter", "label=trainbox.environment=tabular", "--no-trunc"]
    out = subprocess.run(
        [*listed, "--format", "{{.ID}}"], capture_output=True, text=True, check=True
    ).stdout.split()
    if not out:
        sys.exit("no tabular image: run `trainbox images build --backend docker` first")
    return out[0]


class Attempt:
    """The files of one sandbox that no daemon makes."""

    def __init__(self, folder: Path, code: Path) -> None:
        self.folder = folder / uuid4().hex
        self.events = self.folder / "events.jsonl"
        out, scratch = self.folder / "out", self.folder / "scratch"
        for path in (out, scratch):
            path.mkdir(parents=True)
            shutil.chown(path, UID, UID)
        self.events.touch()
        shutil.chown(self.events, UID, UID)
        spec = self.folder / "spec.json"
        spec.write_text(GuestSpec(entry=f"{PACKAGE}.guest:main", task="noop", params={}).to_json())
        self.mounts = [
            (spec, "/trainbox/in/spec.json", True),
            (code, "/trainbox/in/code", True),
            (out, "/trainbox/out", False),
            (scratch, "/trainbox/scratch", False),
            (self.events, "/trainbox/events.jsonl", False),
        ]

    def timed(self, command: list[str]) -> Seconds:
        """Run a command that runs the guest."""
        start = time.time()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        end = time.time()
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr.strip()[-500:]}")
        lines = [line for line in self.events.read_text().splitlines() if '"metric"' in line]
        first = json.loads(lines[0])["value"] if lines else end
        return first - start, end - start


def docker_run(image: str, attempt: Attempt, profile: Path, command: list[str]) -> Seconds:
    """Run a container from the command line."""
    argv = ["docker", "run", "--rm", *FLAGS, "--security-opt", f"seccomp={profile}"]
    for source, target, read_only in attempt.mounts:
        mount = f"type=bind,src={source},dst={target}" + (",readonly" if read_only else "")
        argv += ["--mount", mount]
    for name, value in VARIABLES.items():
        argv += ["--env", f"{name}={value}"]
    return attempt.timed([*argv, image, *command])


@contextmanager
def image_root(image: str, folder: Path) -> Iterator[Path]:
    """Mount an image's layers, read-only."""
    found = subprocess.run(
        ["docker", "image", "inspect", image], capture_output=True, text=True, check=True
    )
    layers = json.loads(found.stdout)[0]["GraphDriver"]["Data"]
    lower = ":".join(filter(None, (layers["UpperDir"], layers.get("LowerDir", ""))))
    root, work = folder / "root", folder / "layers"
    for path in (root, work / "upper", work / "work"):
        path.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={work / 'upper'},workdir={work / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", str(root)], check=True)


def oci_run(runtime: str, root: Path, attempt: Attempt) -> Seconds:
    """Run the guest by an OCI runtime alone: namespaces and limits, but no engine and no seccomp."""
    bundle = attempt.folder / "bundle"
    bundle.mkdir()
    subprocess.run([runtime, "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(root), "readonly": True}
    process = config["process"]
    process |= {"terminal": False, "args": GUEST, "cwd": "/tmp", "noNewPrivileges": True}
    process["user"] = {"uid": UID, "gid": UID}
    process["env"] = [f"{name}={value}" for name, value in VARIABLES.items()]
    process["capabilities"] = {}
    config["linux"]["resources"] |= {
        "memory": {"limit": MEMORY},
        "cpu": {"quota": 100_000, "period": 100_000},
        "pids": {"limit": 256},
    }
    tmp = ["nosuid", "nodev", "noexec", "size=32m"]
    config["mounts"] += [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": tmp}
    ]
    for source, target, read_only in attempt.mounts:
        options = ["bind", "ro" if read_only else "rw"]
        config["mounts"].append({"destination": target, "source": str(source), "options": options})
    (bundle / "config.json").write_text(json.dumps(config))
    name = f"bench-{attempt.folder.name}"
    return attempt.timed([runtime, "run", "--bundle", str(bundle), name])


def through_daemon(daemon: DaemonProcess) -> Seconds:
    """Return the same two figures for one job through the daemon."""
    start = time.time()
    job = daemon.submit("noop", backend="docker")
    events = list(daemon.stream(job))
    first = next(e["data"]["value"] for e in events if e["kind"] == "metric")
    done = next(e for e in events if e["kind"] == "state" and e["data"]["state"] == "succeeded")
    return first - start, datetime.fromisoformat(done["at"]).timestamp() - start


def wait_for_standby(daemon: DaemonProcess) -> None:
    """Return once a sandbox waits at its gate."""
    slots = daemon.state_dir / "backends" / "docker" / "standby" / "slots"
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        for gate in slots.glob("*/go"):
            try:
                os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                continue
            return
        time.sleep(0.1)
    sys.exit(f"no sandbox stands by; see {daemon.log_path}")


async def _stage(root: Path) -> Path:
    stage = root / "code"
    stage.mkdir()
    return await CodeStage(stage).stage((f"{PACKAGE}.guest",))


def measure(rounds: int, root: Path, stack: ExitStack) -> dict[str, list[Seconds]]:
    """Return all figures by subject."""
    image, code = image_id(), asyncio.run(_stage(root))
    profile = root / "seccomp.json"
    profile.write_text(seccomp.profile(Config()))
    layers = stack.enter_context(image_root(image, root / "oci"))
    daemons = {}
    for name, standby in (("warm", "on"), ("cold", "off")):
        (root / name).mkdir()
        config = {"docker": f'standby = "{standby}"\nstandby_per_class = 1'}
        daemon = noop_daemon(root / name, backends=("docker",), config=config)
        daemons[name] = stack.enter_context(daemon)
        through_daemon(daemons[name])  # the environment is looked up once per daemon

    def warm() -> Seconds:
        taken = through_daemon(daemons["warm"])
        settle()  # the next one is made now, not while another subject is measured
        return taken

    def settle() -> None:
        wait_for_standby(daemons["warm"])
        time.sleep(0.3)  # what made it is done too, and so is what the last job left

    subjects: dict[str, Callable[[], Seconds]] = {
        "warm": warm,
        "cold": lambda: through_daemon(daemons["cold"]),
        "docker run": lambda: docker_run(image, Attempt(root, code), profile, GUEST),
        "docker run true": lambda: docker_run(image, Attempt(root, code), profile, ["true"]),
    }
    for runtime in filter(shutil.which, ("runc", "crun")):
        subjects[runtime] = lambda runtime=runtime: oci_run(runtime, layers, Attempt(root, code))
    settle()
    return take_turns(subjects, rounds)


def take_turns(subjects: dict[str, Callable[[], Seconds]], rounds: int) -> dict[str, list[Seconds]]:
    """Measure each once per round; a runtime that cannot run here is left out, and says so."""
    taken: dict[str, list[Seconds]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name in list(taken):
            try:
                taken[name].append(subjects[name]())
            except RuntimeError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                del taken[name]
    return taken


ROWS = (
    ("warm", "job through the daemon, warm"),
    ("cold", "job through the daemon, cold"),
    ("docker run", "`docker run`, same image and flags"),
    ("docker run true", "`docker run` of `true`, same flags"),
    ("runc", "bare `runc run`, no seccomp, no log"),
    ("crun", "bare `crun run`, no seccomp, no log"),
)


def report(rounds: int, taken: dict[str, list[Seconds]]) -> None:
    """Write the table and the ratios of medians that are promised."""

    def median(name: str, position: int) -> float:
        return statistics.median(item[position] for item in taken[name]) * 1000

    rows = []
    for name, what in ROWS:
        if name not in taken:
            continue
        cells = []
        for position in (0, 1):
            least = min(item[position] for item in taken[name]) * 1000
            cells.append(f"{median(name, position):.1f} ({least:.1f})")
        first = "" if name == "docker run true" else cells[0]
        rows.append(f"| {what} | {first} | {cells[1]} |")
    docker, true = median("docker run", 0), median("docker run true", 1)
    goals = [
        ("submit to first line, warm, by `docker run`", median("warm", 0) / docker, 0.10),
        ("submit to first line, cold, by `docker run`", median("cold", 0) / docker, 1.1),
        ("submit to succeeded, warm, by `docker run` of `true`", median("warm", 1) / true, 1.3),
    ]
    text = "\n".join(
        [
            f"Submit to user code, {rounds} rounds in turns, {datetime.now(UTC):%Y-%m-%d}, "
            f"{os.cpu_count()} cores, Linux {platform.release()}. Milliseconds: median (minimum).",
            "",
            "| subject | first line of user code | command or job over |",
            "|---|---|---|",
            *rows,
            "",
            "| ratio of medians | measured | goal |",
            "|---|---|---|",
            *(f"| {what} | {ratio:.3f} | {goal:g} |" for what, ratio, goal in goals),
            "",
            "The daemon's figures include HTTP, validation, two durable commits before the sandbox "
            "is told to go, and at the end collection and the durable success; those of the command "
            "line include `--rm`. Load while measuring (1 minute): "
            f"{os.getloadavg()[0]:.1f}.",
        ]
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n")
    print(text)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    if os.geteuid() != 0:
        sys.exit("only root can have sandboxes stand by, and mount an image for runc")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        root.chmod(0o755)
        (root / "oci").mkdir()
        taken = measure(rounds, root, stack)
    report(rounds, taken)


if __name__ == "__main__":
    main()
