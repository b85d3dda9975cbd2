"""Many queued jobs of every fate through a real daemon, and what is left of them afterwards.

Most end well; some fail, some are cancelled while they wait or run, some flood their log. In the
middle the daemon is killed, and later stopped, each time started again. Counted before and after:
containers, mounts, loop devices, threads, descriptors, memory, files. Run by
``benchmarks/two_hundred_jobs.py``, and smaller by the test suite.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainbox_sdk.testing.daemon import TERMINAL, DaemonProcess

MIB = 1024**2
CPUS, MEMORY = 2.0, 1024 * MIB
"""What the daemon may give out."""

SCRIPT = b"""
import os, sys, time
fate = os.environ["FATE"]
print("begin", os.environ["NUMBER"], flush=True)
if fate == "floods":
    block = ("x" * 99 + "\\n") * 10_000
    for _ in range(500):
        sys.stdout.write(block)
elif fate == "fails":
    raise ValueError("no such column")
elif fate == "waits":
    time.sleep(600)
elif fate == "talks":
    for number in range(20_000):
        print("INFO:soak:line", number)
with open(os.environ["MODEL_OUTPUT_PATH"], "wb") as file:
    file.write(os.urandom(100_000))
print("end", flush=True)
"""

FATES: Mapping[str, tuple[float, str, str]] = {
    # share of the jobs, how they end, and the reason then
    "works": (0.60, "succeeded", ""),
    "talks": (0.10, "succeeded", ""),
    "fails": (0.15, "failed", "exception"),
    "waits": (0.10, "cancelled", "cancelled"),
    "floods": (0.05, "failed", "log_limit"),
}

PLUGINS = f"""
[[plugin]]
name = "native"
required = true

[[plugin]]
name = "custom_script"
required = true

[[plugin]]
name = "tabular"
required = true

[[plugin]]
name = "onnx_check"
required = true

[[plugin]]
name = "docker"
required = true
[plugin.config]
cpus = {CPUS}
memory_bytes = {MEMORY}
standby = "off"
"""


@dataclass(frozen=True)
class Traces:
    """What a daemon holds at one moment, counted from outside."""

    containers: int
    volumes: int
    mounts: int
    loop_devices: int
    sandbox_directories: int
    scratch_directories: int
    threads: int
    descriptors: int
    sockets: int
    children: int
    rss_mib: int
    state_mib: float
    blobs_mib: float
    logs_mib: float
    plain_logs: int
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Report:
    """What came of it.

    Attributes:
        ends: how many ended how, by fate.
        wrong: jobs that ended otherwise than their fate says.
        most_cpus, most_memory: given out at once, by the events.
        attempts: how many attempts a job had at most.
        errors: the last line of error of each job whose script raised.
    """

    jobs: int
    before: Traces
    after: Traces
    deleted: Traces
    ends: Counter[tuple[str, str, str]]
    wrong: list[str]
    most_cpus: float
    most_memory: int
    attempts: int
    errors: list[Any]
    wall_s: float
    daemon_cpu_s: float


def soak_daemon(root: Path) -> DaemonProcess:
    """Return a daemon, not started, that gives out two cores."""
    plugins = root / "plugins.toml"
    plugins.write_text(PLUGINS)
    return DaemonProcess(root / "state", plugins_file=plugins)


def soak(daemon: DaemonProcess, jobs: int, *, seed: int = 1) -> Report:
    """Run that many jobs on a daemon that is not started yet, and count.

    Args:
        daemon: of :func:`soak_daemon`.
        jobs: how many.
        seed: of their order.
    """
    daemon.start()
    try:
        return _Soak(daemon, jobs, seed).run()
    finally:
        daemon.stop()


class _Soak:
    def __init__(self, daemon: DaemonProcess, jobs: int, seed: int) -> None:
        self.daemon = daemon
        self.random = random.Random(seed)
        self.fates = self._fates(jobs)
        self.cpu_s = 0.0
        self.asset = ""

    def run(self) -> Report:
        self.asset = self._upload()
        warm = [self._submit(fate, 0) for fate in ("works", "talks")]
        for job_id in warm:  # environments built, threads started
            self.daemon.wait(job_id, 600)
        before = self._idle_traces()
        began = time.monotonic()
        made = {self._submit(fate, n): fate for n, fate in enumerate(self.fates)}
        self._disturb(made)
        ended = self._wait_for_all(made)
        wall_s = time.monotonic() - began
        after = self._idle_traces(packed=True)
        self.cpu_s += _cpu_s(self.daemon.pid)
        most_cpus, most_memory = self._most_given_out(made)
        errors = [self._last_error(job_id) for job_id, fate in made.items() if fate == "fails"]
        for job_id in [*made, *warm]:
            self.daemon.call("DELETE", f"/v1/jobs/{job_id}")
        return Report(
            jobs=len(made),
            before=before,
            after=after,
            deleted=self._idle_traces(),
            ends=Counter((made[j["id"]], j["state"], j["reason_code"] or "") for j in ended),
            wrong=[_wrong(job, made[job["id"]]) for job in ended if _wrong(job, made[job["id"]])],
            most_cpus=most_cpus,
            most_memory=most_memory,
            attempts=max(len(step["attempts"]) for job in ended for step in job["steps"]),
            errors=errors,
            wall_s=wall_s,
            daemon_cpu_s=self.cpu_s,
        )

    def _fates(self, jobs: int) -> list[str]:
        fates = [f for f, (share, _, _) in FATES.items() for _ in range(round(share * jobs))]
        self.random.shuffle(fates)
        return fates

    def _upload(self) -> str:
        _, _, answer = self.daemon.request(
            "POST",
            "/v1/assets?filename=soak.py&kind=script",
            SCRIPT,
            headers={"Content-Type": "application/octet-stream"},
        )
        return str(json.loads(answer)["id"])

    def _submit(self, fate: str, number: int) -> str:
        return self.daemon.submit(
            "custom_script",
            params={
                "entry_point": "soak.py",
                "assets": [{"asset": self.asset, "name": "soak.py", "kind": "script"}],
                "environment_vars": {"FATE": fate, "NUMBER": str(number)},
            },
            resources={
                "cpus": self.random.choice([0.5, 1.0]),
                "memory_bytes": self.random.choice([128, 256]) * MIB,
                "timeout_s": 300,
            },
        )

    def _disturb(self, made: Mapping[str, str]) -> None:
        """Cancel those who wait for it; kill the daemon a third, stop it two thirds through."""
        doomed = [job_id for job_id, fate in made.items() if fate == "waits"]
        for job_id in doomed[::2]:  # while they queue, most of them
            self.daemon.call("POST", f"/v1/jobs/{job_id}/cancel")
        running = set(doomed[1::2])
        kills = {len(made) // 3: self.daemon.kill, 2 * len(made) // 3: self.daemon.stop}
        while True:
            jobs = self._all_jobs()
            done = sum(job["state"] in TERMINAL for job in jobs)
            for job in jobs:
                if job["id"] in running and job["state"] == "running":
                    self.daemon.call("POST", f"/v1/jobs/{job['id']}/cancel")
                    running.discard(job["id"])
            for at in [at for at in kills if done >= at]:
                self.cpu_s += _cpu_s(self.daemon.pid)
                kills.pop(at)()
                self.daemon.start()
            if not running and not kills:
                return
            time.sleep(0.2)

    def _wait_for_all(self, made: Mapping[str, str]) -> list[Any]:
        deadline = time.monotonic() + 60 + 10 * len(made)
        while True:
            jobs = [job for job in self._all_jobs() if job["id"] in made]
            if all(job["state"] in TERMINAL for job in jobs):
                assert len(jobs) == len(made), "a job is lost"
                return jobs
            assert time.monotonic() < deadline, Counter(job["state"] for job in jobs)
            time.sleep(0.5)

    def _all_jobs(self) -> list[Any]:
        found, after = [], ""
        while True:
            page = self.daemon.call("GET", f"/v1/jobs?limit=200{after}")
            found += page["items"]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def _idle_traces(self, *, packed: bool = False) -> Traces:
        """Return the traces once nothing is cleaned up any more; pytest's timeout is the clock."""
        while True:
            found = traces(self.daemon)
            idle = not found.containers and not found.sandbox_directories
            if idle and not (packed and found.plain_logs):
                time.sleep(2.0)  # threads that are about to end
                return traces(self.daemon)
            time.sleep(0.5)

    def _last_error(self, job_id: str) -> Any:
        query = "level=error&tail=true&limit=1"
        return self.daemon.call("GET", f"/v1/jobs/{job_id}/log-lines?{query}")["lines"][0]

    def _most_given_out(self, made: Mapping[str, str]) -> tuple[float, int]:
        """Return the most cores and bytes that steps had at once, from preparing to their end."""
        changes: list[tuple[int, float, int]] = []
        for job_id in made:
            job = self.daemon.job(job_id)
            cpus, memory = job["resources"]["cpus"], job["resources"]["memory_bytes"]
            changes += _changes(self.daemon.events(job_id), cpus, memory)
        used_cpus = most_cpus = 0.0
        used_memory = most_memory = 0
        for _, cpus, memory in sorted(changes):
            used_cpus, used_memory = used_cpus + cpus, used_memory + memory
            most_cpus, most_memory = max(most_cpus, used_cpus), max(most_memory, used_memory)
        assert (used_cpus, used_memory) == (0, 0), "somebody still holds something"
        return most_cpus, most_memory


def _changes(events: list[Any], cpus: float, memory: int) -> Iterator[tuple[int, float, int]]:
    holding = False
    for event in events:
        state = event["data"].get("state") if event["kind"] == "state" else None
        if state == "preparing" and not holding:
            holding = True
            yield event["seq"], cpus, memory
        elif state in TERMINAL and holding:
            holding = False
            yield event["seq"], -cpus, -memory


def _wrong(job: Any, fate: str) -> str:
    _, state, reason = FATES[fate]
    if job["state"] == state and (job["reason_code"] or "") == reason:
        return ""
    return f"{job['id']} {fate}: {job['state']} {job['reason_code']}: {job['reason']}"


# --- counting


def traces(daemon: DaemonProcess) -> Traces:
    """Count what a daemon holds now."""
    state, process = daemon.state_dir, Path(f"/proc/{daemon.pid}")
    descriptors = list(_descriptors(process))
    return Traces(
        containers=len(_docker("ps", "-aq", "--filter", f"label=trainbox.instance={_of(state)}")),
        volumes=len(_docker("volume", "ls", "-q")),
        mounts=(process / "mountinfo").read_text().count(str(state)),
        loop_devices=_loop_devices(state),
        sandbox_directories=len(list((state / "sandboxes").iterdir())),
        scratch_directories=len(list((state / "scratch").iterdir())),
        threads=len(list((process / "task").iterdir())),
        descriptors=len(descriptors),
        sockets=sum(target.startswith("socket:") for target in descriptors),
        children=len((process / "task" / str(daemon.pid) / "children").read_text().split()),
        rss_mib=_status(process, "VmRSS") // 1024,
        state_mib=_mib_under(state),
        blobs_mib=_mib_under(state / "blobs"),
        logs_mib=_mib_under(state / "logs"),
        plain_logs=len(list((state / "logs").glob("*.log"))),
        rows=_rows(state / "trainbox.db"),
    )


def _descriptors(process: Path) -> Iterator[str]:
    """Yield what each open descriptor of a process is."""
    for link in (process / "fd").iterdir():
        try:
            yield os.readlink(link)
        except FileNotFoundError:
            continue  # closed meanwhile


def _of(state: Path) -> str:
    return str(json.loads((state / "instance.json").read_text())["instance"])


def _docker(*arguments: str) -> list[str]:
    command = ["docker", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def _loop_devices(state: Path) -> int:
    """Count those of jobs' disks; the two spares that lie ready are the daemon's as long as it runs."""
    found = 0
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            image = backing.read_text()
            found += image.startswith(str(state)) and "/spare-" not in image
        except OSError:
            continue  # let go meanwhile
    return found


def _mib_under(folder: Path) -> float:
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(here, name)).st_blocks * 512
            except OSError:
                continue  # deleted meanwhile
    return round(total / MIB, 1)


def _rows(database_path: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{database_path}?mode=ro", uri=True) as database:
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {
            name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for (name,) in tables
            if name in {"jobs", "steps", "attempts", "artifacts", "events", "audit"}
        }


def _status(process: Path, name: str) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
