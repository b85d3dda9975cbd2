"""What the engine says about a container, in the words of the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainbox_plugins.docker_backend.policy import ref_of
from trainbox_sdk.backends import Cause, Observation, Phase, SandboxRef

_PHASES = {
    "created": Phase.CREATED,
    "running": Phase.RUNNING,
    "paused": Phase.RUNNING,
    "restarting": Phase.RUNNING,
    "exited": Phase.EXITED,
    "dead": Phase.EXITED,
}
KILLED = 137
"""128 + SIGKILL. Never a cause by itself; with the engine's flag it names the process that died."""


def observation_of_summary(summary: Mapping[str, Any]) -> Observation | None:
    """Read one entry of a container list; None for one that is being removed, or a stranger's."""
    ref, phase = ref_of(summary.get("Labels") or {}), phase_of(summary)
    if ref is None or phase is None:
        return None
    return Observation(ref, phase)


def phase_of(summary: Mapping[str, Any]) -> Phase | None:
    """Return the phase of one entry of a container list; None for one that is being removed."""
    return _PHASES.get(str(summary.get("State")))


def observation_of_inspect(ref: SandboxRef, found: Mapping[str, Any]) -> Observation:
    """Read a container's own record (Engine API v1.41, ``ContainerInspect``)."""
    state = found["State"]
    phase = _PHASES.get(str(state.get("Status")), Phase.EXITED)
    ended = phase is Phase.EXITED
    exit_code = int(state["ExitCode"]) if ended else None
    cause, detail = _cause_of(state, exit_code)
    started_at = _time(state.get("StartedAt"))
    finished_at = _time(state.get("FinishedAt")) if ended else None
    if started_at is not None and finished_at is not None:
        # The engine notes a start only when its call returns: a short run may have ended before.
        started_at = min(started_at, finished_at)
    return Observation(
        ref,
        phase,
        exit_code=exit_code,
        cause=cause,
        detail=detail,
        started_at=started_at,
        finished_at=finished_at,
    )


def memory_cause(exit_code: int | None, oom_kills: int) -> tuple[Cause, str]:
    """Say what kills at the memory limit mean for a sandbox that ended with this number.

    The kernel kills a process, not a sandbox: where the step's own process lived on, its exit
    code stays what it is and the kill is only told.
    """
    if not oom_kills:
        return Cause.NONE, ""
    if exit_code == KILLED:
        return Cause.OUT_OF_MEMORY, "the kernel killed it at its memory limit"
    return Cause.NONE, "the kernel killed a process of it at its memory limit"


def _cause_of(state: Mapping[str, Any], exit_code: int | None) -> tuple[Cause, str]:
    if exit_code is None:
        return Cause.NONE, ""
    cause, detail = memory_cause(exit_code, int(bool(state.get("OOMKilled"))))
    return cause, detail or str(state.get("Error") or "")


def _time(text: Any) -> datetime | None:
    """Read the engine's RFC 3339 time with nanoseconds; year 1 is its word for never."""
    if not text or str(text).startswith("0001-"):
        return None
    return datetime.fromisoformat(str(text))
