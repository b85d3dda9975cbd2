"""What a shim is told and what it leaves behind: small files in the sandbox's state directory.

Written by rename, so that a reader sees a whole document or none. The directory is never visible
inside the sandbox.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from trainbox_guest.confine.policy import Policy

TASK = "task.json"
RUNNING = "running.json"
CONFINED = "confined.json"
STOP = "stop.json"
EXIT = "exit.json"
ALL = (TASK, RUNNING, CONFINED, STOP, EXIT)
LOCK = "shim.lock"
"""Held by the shim from before it exists until it is gone: whether it lives is whether this is
locked, with no process id that could be somebody else's by now."""


@dataclass(frozen=True)
class Task:
    """What the shim runs.

    Attributes:
        argv, env, cwd: of the step.
        policy: what the step may do.
        log: file that gets stdout and stderr.
        watched: writable files and trees whose size counts.
        memory_bytes, pids: limits over all processes of the step.
        output_bytes, output_entries: limits over ``watched``.
        log_bytes: what is kept of the output.
        log_rate: bytes a second, lines a second and seconds of burst beyond which lines are dropped
            (:class:`trainbox_guest.shim.log_rate.LogRate`); empty for any.
        flood_bytes: output beyond which the step is killed.
        cpus: core quota.
        deadline_at: seconds since the epoch after which the step is stopped, whoever is watching.
        grace_s: seconds between SIGTERM and SIGKILL.
        cgroup: name for a control group, empty for none.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    policy: Policy
    log: str
    watched: list[str]
    memory_bytes: int
    pids: int
    output_bytes: int
    output_entries: int
    log_bytes: int
    flood_bytes: int
    cpus: float
    deadline_at: float
    grace_s: float
    cgroup: str = ""
    log_rate: tuple[float, ...] = ()

    @classmethod
    def read(cls, state: str) -> Task:
        """Read what :func:`write` wrote of a task."""
        raw = read(state, TASK)
        if raw is None:
            raise FileNotFoundError(f"no {TASK} in {state}")
        policy = {key: _tuple(value) for key, value in raw.pop("policy").items()}
        return cls(policy=Policy(**policy), **raw)


@dataclass(frozen=True)
class Running:
    """A shim that started.

    Attributes:
        pid: its process.
        started_at: seconds since the epoch.
        groups: directories of its control groups, to be removed by others if it is killed.
    """

    pid: int
    started_at: float
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Exit:
    """How it ended.

    Attributes:
        exit_code: 128 + n for a signal n; None where nothing was started.
        cause: a word of the SDK's ``Cause``, empty where the code says it all.
    """

    exit_code: int | None
    cause: str
    detail: str
    started_at: float | None
    finished_at: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Confined:
    """What was truly applied to the step, as its own process reported it."""

    applied: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def write(state: str, name: str, note: Task | Running | Exit | Confined | dict[str, Any]) -> None:
    """Write a note so that it is there whole, even after a power cut, or not at all."""
    document = note if isinstance(note, dict) else asdict(note)
    path = os.path.join(state, name)
    fd = os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(document).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path + ".part", path)


def read(state: str, name: str) -> dict[str, Any] | None:
    """Return a note, or None where it is not there or not whole."""
    try:
        with open(os.path.join(state, name), encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
