"""What the kernel counts about one container: read from outside, best effort, never required.

Both cgroup versions are read where engines put them: under ``docker/<id>`` with the cgroupfs
driver, in ``system.slice/docker-<id>.scope`` with systemd's, or under a parent of the admin's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryUse:
    """The memory counters of a cgroup.

    Attributes:
        peak_bytes: high-water mark, None where the kernel does not keep one.
        oom_kills: processes the kernel killed at the limit.
    """

    peak_bytes: int | None
    oom_kills: int


def memory_use(container_id: str, parent: str = "", root: Path = ROOT) -> MemoryUse | None:
    """Return what a live container has used; None once it is gone, or where it is not visible."""
    for directory in _candidates(container_id, parent, root):
        if not directory.is_dir():
            continue
        peak = _number(directory / "memory.peak")
        if peak is None:
            peak = _number(directory / "memory.max_usage_in_bytes")
        kills = _field(directory / "memory.events", "oom_kill")
        if kills is None:
            kills = _field(directory / "memory.oom_control", "oom_kill")
        if peak is not None or kills is not None:
            return MemoryUse(peak, kills or 0)
    return None


def memory_held(container_id: str, parent: str = "", root: Path = ROOT) -> int | None:
    """Return the bytes that a live container's processes hold now, caches left out."""
    for directory in _candidates(container_id, parent, root):
        for field in ("anon", "total_rss"):  # version 2, version 1
            held = _field(directory / "memory.stat", field)
            if held is not None:
                return held
    return None


def cpu_used(container_id: str, parent: str = "", root: Path = ROOT) -> float | None:
    """Return the seconds of CPU time that a live container has used; None once it is gone."""
    for directory in _candidates(container_id, parent, root, "cpuacct"):
        micros = _field(directory / "cpu.stat", "usage_usec")
        if micros is not None:
            return micros / 1e6
        nanos = _number(directory / "cpuacct.usage")
        if nanos is not None:
            return nanos / 1e9
    return None


class CpuMeter:
    """What a sandbox used of the CPU, and its busiest stretch.

    Args:
        whole: count from the sandbox's start, not from the first sample: what one used while it
            stood by is none of its job's.

    Attributes:
        cpu_s: seconds of CPU time; None before there is anything to tell.
        peak_cpus: cores used at its busiest, over :data:`STRETCH_S` or more; None before that.
    """

    def __init__(self, *, whole: bool) -> None:
        self.cpu_s: float | None = None
        self.peak_cpus: float | None = None
        self._first: float | None = 0.0 if whole else None
        self._mark: tuple[float, float] | None = None

    def sample(self, at: float, used_s: float) -> None:
        """Take one reading.

        Args:
            at: seconds on a monotonic clock.
            used_s: what the kernel has counted so far.
        """
        if self._first is None:
            self._first = used_s
        else:
            self.cpu_s = used_s - self._first
        since, before = self._mark = self._mark or (at, used_s)
        if at - since >= STRETCH_S:
            self.peak_cpus = max(self.peak_cpus or 0.0, (used_s - before) / (at - since))
            self._mark = (at, used_s)


STRETCH_S = 0.25
"""Least seconds over which a use of the CPU is averaged; less would show the scheduler at work."""


def _candidates(
    container_id: str, parent: str, root: Path, controller: str = "memory"
) -> Iterator[Path]:
    for base in (root / controller, root):
        if parent:
            yield base / parent.strip("/") / container_id
            yield base / parent.strip("/") / f"docker-{container_id}.scope"
        yield base / "docker" / container_id
        yield base / "system.slice" / f"docker-{container_id}.scope"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        return None
    return None
