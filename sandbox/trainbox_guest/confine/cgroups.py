"""Control groups for one sandbox, where the host lets this process make them (cgroups(7)).

Version 1 has one tree per controller, version 2 has one tree. Groups are made below the group this
process is in, so that a limit on the daemon's service holds for its sandboxes too.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = "/sys/fs/cgroup"
_PERIOD_US = 100_000
_DELEGATED = "daemon"
"""systemd's DelegateSubgroup= for the daemon itself: sandboxes are then made beside it."""
_REMOVE_TRIES = 20


@dataclass(frozen=True)
class Groups:
    """The groups of one sandbox.

    Attributes:
        memory, pids, cpu: directory of each controller that could be had; equal in version 2.
    """

    memory: str = ""
    pids: str = ""
    cpu: str = ""

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory once."""
        return tuple(dict.fromkeys(path for path in (self.memory, self.pids, self.cpu) if path))

    @property
    def entries(self) -> list[str]:
        """The files a process writes its id to, to enter."""
        return [f"{path}/cgroup.procs" for path in self.directories]

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed at the memory limit."""
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(f"{self.memory}/{name}").splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
        return 0

    def peak_bytes(self) -> int | None:
        """Return the high-water mark of memory, where the kernel keeps one."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            text = _read(f"{self.memory}/{name}").strip()
            if text.isdigit():
                return int(text)
        return None


def create(name: str, *, memory_bytes: int, pids: int, cpus: float) -> Groups:
    """Make what can be made; a controller that is not to be had is left out.

    Args:
        name: of the group, unique per sandbox.
        memory_bytes: without swap on top.
        pids: processes and threads.
        cpus: cores, as a quota.
    """
    quota = max(1000, round(cpus * _PERIOD_US))
    wanted = {
        "memory": {
            "memory.limit_in_bytes": str(memory_bytes),
            "memory.memsw.limit_in_bytes": str(memory_bytes),
            "memory.max": str(memory_bytes),
            "memory.swap.max": "0",
        },
        "pids": {"pids.max": str(pids)},
        "cpu": {
            "cpu.cfs_period_us": str(_PERIOD_US),
            "cpu.cfs_quota_us": str(quota),
            "cpu.max": f"{quota} {_PERIOD_US}",
        },
    }
    made = {kind: _make(kind, name, settings) for kind, settings in wanted.items()}
    return Groups(**made)


def remove(directories: Iterable[str]) -> None:
    """Remove groups by directory; a dead process may keep one busy for an instant."""
    for path in directories:
        for _ in range(_REMOVE_TRIES):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)
            else:
                break


def _make(kind: str, name: str, settings: dict[str, str]) -> str:
    path = _path(kind, name)
    if not path:
        return ""
    try:
        _offer(kind, os.path.dirname(path))
        os.makedirs(path, exist_ok=True)
        applied = [_write(f"{path}/{file}", value) for file, value in settings.items()]
    except OSError:  # read-only, not delegated, or processes in the way: the caller reports it
        applied = []
    if any(applied):
        return path
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return ""


def _path(kind: str, name: str) -> str:
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if kind in controllers.split(","):
            return os.path.normpath(f"{_ROOT}/{kind}/{group}/{name}")
        unified = not controllers and os.path.exists(f"{_ROOT}/cgroup.controllers")
        if unified:
            base = os.path.normpath(f"{_ROOT}/{group}")
            if os.path.basename(base) == _DELEGATED:
                base = os.path.dirname(base)
            return f"{base}/{name}"
    return ""


def _offer(kind: str, parent: str) -> None:
    """Hand a controller down in version 2; version 1 has nothing to hand."""
    subtree = f"{parent}/cgroup.subtree_control"
    if os.path.exists(subtree) and kind not in _read(subtree).split():
        _write(subtree, f"+{kind}")


def _write(path: str, value: str) -> bool:
    if not os.path.exists(path):
        return False
    with open(path, "w", encoding="ascii") as file:
        file.write(value)
    return True


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
