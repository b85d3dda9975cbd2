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


def _candidates(container_id: str, parent: str, root: Path) -> Iterator[Path]:
    for base in (root / "memory", root):
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
