"""Jobs as everyone outside the store sees them: specification, views, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a step, and by its steps a job, stands. Terminal states never move."""

    QUEUED = "queued"
    """Waits for a slot; the scheduler moves it on, and says why not yet."""
    PREPARING = "preparing"
    """The intent to run is on disk; the environment and the sandbox are being made."""
    RUNNING = "running"
    """The sandbox runs the step's code."""
    COLLECTING = "collecting"
    """The sandbox is dead; declared outputs are being copied out."""
    VERIFYING = "verifying"
    """A second locked sandbox checks the artifact."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The step's code, data or limits failed it."""
    CANCELLED = "cancelled"
    """Someone asked."""
    INTERRUPTED = "interrupted"
    """The daemon, the engine or the host went away under it; a retry may well succeed."""

    @property
    def terminal(self) -> bool:
        """Whether this state never moves."""
        return self in TERMINAL


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.INTERRUPTED})


@dataclass(frozen=True)
class Resources:
    """What one step may use.

    Attributes:
        cpus: cores, fractions allowed.
        memory_bytes: memory without swap, in bytes.
        gpus: whole devices.
        timeout_s: wall-clock limit in seconds.
    """

    cpus: float = 1.0
    memory_bytes: int = 2 * 1024**3
    gpus: int = 0
    timeout_s: float = 3600.0


@dataclass(frozen=True)
class JobSpec:
    """What a caller asks for.

    Attributes:
        task: task type name.
        dataset_id: the data; None where the task needs none.
        params: the task's own parameters, opaque to the engine.
        resources: overrides of the task's defaults: any of ``cpus``, ``memory_bytes``, ``gpus``,
            ``timeout_s``.
        priority: higher runs first; -100 to 100.
        name: for people; the model gets this name too.
        labels: for people and filters.
        backend: name of the backend to run on; None lets the daemon choose.
    """

    task: str
    dataset_id: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    backend: str | None = None


@dataclass(frozen=True)
class AttemptView:
    """One sandbox run of a step.

    Attributes:
        cpu_s, peak_cpus: CPU seconds used, and cores at the busiest; None where not measured.
        confinement: what held the sandbox, as its backend said; see
            :class:`~trainbox_sdk.backends.Observation`.
    """

    id: str
    number: int
    state: State
    exit_code: int | None
    reason_code: str
    started_at: datetime | None
    finished_at: datetime | None
    peak_memory_bytes: int | None
    cpu_s: float | None = None
    peak_cpus: float | None = None
    confinement: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StepView:
    """One step of a job."""

    id: str
    name: str
    state: State
    reason_code: str
    reason: str
    after: tuple[str, ...]
    attempts: tuple[AttemptView, ...]


@dataclass(frozen=True)
class JobView:
    """A job as it stands.

    Attributes:
        reason_code, reason: why it waits, why it failed: a stable word and a sentence.
        progress: fraction in [0, 1].
        eta_s: seconds left, where the guest knows.
        metrics: last value of each metric; final ones once it succeeded.
        duration_s: seconds from the start to the end; None before, and where it never ran.
        deleted_at: when its files were freed.
    """

    id: str
    name: str
    task: str
    state: State
    reason_code: str
    reason: str
    dataset_id: str | None
    params: Mapping[str, Any]
    resources: Resources
    priority: int
    labels: Mapping[str, str]
    backend: str
    owner: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: float
    eta_s: float | None
    metrics: Mapping[str, float]
    model_id: str | None
    steps: tuple[StepView, ...]
    duration_s: float | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True)
class JobEvent:
    """One committed fact about a job.

    Attributes:
        seq: position in the whole event log; strictly rising, the ``Last-Event-ID`` of a stream.
        kind: ``state``, ``waiting``, ``progress``, ``metric``, ``message``, ``failure``,
            ``warning`` or ``model``.
        data: JSON-able facts of that kind.
    """

    seq: int
    job_id: str
    kind: str
    at: datetime
    data: Mapping[str, Any]
