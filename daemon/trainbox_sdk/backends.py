"""What a backend is: somewhere to run one step, locked down, found again after a restart.

A backend is eight verbs over a :class:`SandboxRef` that the core can derive again from its own
rows; the backend keeps no state that a restart would lose. A failed look is never "lost":
:class:`~trainbox_sdk.errors.BackendUnavailable` says "unknown", an empty answer says "absent".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from trainbox_guest import protocol
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment


class Phase(StrEnum):
    """What a backend sees of a sandbox."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class Cause(StrEnum):
    """Why a sandbox ended, where the number alone does not say. Never guessed from 137."""

    NONE = ""
    OUT_OF_MEMORY = "out_of_memory"
    DISK_LIMIT = "disk_limit"
    LOG_LIMIT = "log_limit"
    START_FAILED = "start_failed"
    """The sandbox could not be started: ``detail`` says why."""
    LOST = "lost"
    """The sandbox is gone and left no exit code."""


@dataclass(frozen=True)
class SandboxRef:
    """Names one sandbox for ever; derived from rows, never returned by an engine.

    Attributes:
        instance: id of this daemon's state directory: a foreign one is never touched.
        job_id: the job.
        attempt_id: unique per run; a retry is a new attempt.
        role: ``step``, or ``check`` for the sandbox that verifies its artifact.
    """

    instance: str
    job_id: str
    attempt_id: str
    role: str = "step"

    @property
    def name(self) -> str:
        """A name engines accept: ``trainbox-<instance>-<attempt>-<role>``."""
        return f"trainbox-{self.instance}-{self.attempt_id}-{self.role}".replace("_", "-")


@dataclass(frozen=True)
class Limits:
    """Every limit of a sandbox. Zero or negative is never "unlimited": it is refused.

    Attributes:
        cpus: CPU quota in cores.
        memory_bytes: memory, with no swap on top.
        pids: processes and threads together.
        open_files: file descriptors per process.
        file_bytes: largest single file.
        tmp_bytes: size of ``/tmp``, inside the memory limit.
        tmp_inodes: files in ``/tmp``.
        shm_bytes: size of ``/dev/shm``, inside the memory limit.
        output_bytes: everything under the writable directories together.
        log_bytes: what is kept of stdout and stderr.
        wall_s: wall-clock limit, in seconds, from start.
        grace_s: seconds between SIGTERM and SIGKILL.
    """

    cpus: float = 1.0
    memory_bytes: int = 2 * 1024**3
    pids: int = 256
    open_files: int = 1024
    file_bytes: int = 2 * 1024**3
    tmp_bytes: int = 64 * 1024**2
    tmp_inodes: int = 16384
    shm_bytes: int = 64 * 1024**2
    output_bytes: int = 4 * 1024**3
    log_bytes: int = 8 * 1024**2
    wall_s: float = 3600.0
    grace_s: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"limit {name} must be positive, not {getattr(self, name)!r}")


@dataclass(frozen=True)
class Paths:
    """Host paths of one sandbox; the engine makes them, the backend maps them inside.

    Attributes:
        spec: the guest's spec, a file; read-only inside.
        dataset: the data, a file; read-only inside. None for a step without data.
        code: staged packages, a directory for ``PYTHONPATH``; read-only inside.
        output: ``MODEL_OUTPUT_PATH``, a directory; writable inside.
        scratch: survives an attempt, a directory; writable inside.
        events: ``TRAINBOX_EVENTS``, an existing empty file; writable inside.
        log: stdout and stderr as bytes; the backend writes it from outside.
        state: a directory for the backend's own notes about this sandbox; not visible inside.
        inputs: a directory of further read-only files under the names they have inside; None
            for none.
    """

    spec: Path
    dataset: Path | None
    code: Path
    output: Path
    scratch: Path
    events: Path
    log: Path
    state: Path
    inputs: Path | None = None


@dataclass(frozen=True)
class SandboxSpec:
    """All a backend may know about what it runs.

    Attributes:
        environment: :attr:`BuiltEnvironment.reference` of an environment of this backend.
        argv: command after the environment's Python, such as ``("-m", "trainbox_guest.main")``.
        env: extra variables, an allow-list; the contract's own are added by the backend.
        gpus: how many devices to hand in.
        deadline_at: absolute wall-clock limit; a daemon that was away does not extend it.
        trusted: whether the code is ours or an admin's plugin. A backend that cannot confine a
            stranger's script refuses when this is False.
        disk_is_sized: whether the writable paths lie on a file system of their own that cannot
            grow beyond ``limits.output_bytes``; a backend then need not watch their size.
        modules: what the guest imports before anything else; a sandbox that stands by has done so.
    """

    ref: SandboxRef
    environment: str
    argv: tuple[str, ...]
    paths: Paths
    limits: Limits
    deadline_at: datetime
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 0
    trusted: bool = True
    disk_is_sized: bool = False
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observation:
    """One look at one sandbox.

    Attributes:
        exit_code: as the kernel reported it (128 + n for a signal n), None while it lives.
        cause: set only where it is known.
        peak_memory_bytes: high-water mark where the backend can measure it.
        cpu_s: seconds of CPU time it used, where the backend can measure it.
        peak_cpus: cores it used at its busiest, over a quarter of a second or more.
        confinement: what held this sandbox, for its record: ``start`` (``cold`` or ``warm``),
            ``disk``, ``seccomp``, ``runtime``, ``user`` and whatever else there is to say.
    """

    ref: SandboxRef
    phase: Phase
    exit_code: int | None = None
    cause: Cause = Cause.NONE
    detail: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    peak_cpus: float | None = None
    confinement: Mapping[str, str] = field(default_factory=dict)


class Level(StrEnum):
    """How far one promise of the sandbox contract holds on this host."""

    ENFORCED = "enforced"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True)
class Promise:
    """One line of what a backend confines, and how."""

    name: str
    level: Level
    how: str


@dataclass(frozen=True)
class Capacity:
    """What a backend can give out.

    Attributes:
        cpus: cores to share among running steps.
        memory_bytes: memory to share among running steps.
        gpus: devices to share.
        queues: whether the backend has its own queue, so that the core submits at once.
    """

    cpus: float
    memory_bytes: int
    gpus: int = 0
    queues: bool = False


@dataclass(frozen=True)
class Health:
    """A fingerprint: is the backend usable now, and what does it promise.

    Attributes:
        ok: whether a sandbox can be started now.
        detail: what was seen; for a failure also how to fix it.
        version: of the engine behind it.
        promises: what it confines on this host.
        untrusted: whether it accepts a stranger's script.
        sees_mounts: whether its sandboxes see a file system that the daemon has mounted, so that
            the writable paths may lie on one of limited size.
    """

    ok: bool
    detail: str
    version: str = ""
    promises: tuple[Promise, ...] = ()
    untrusted: bool = False
    sees_mounts: bool = False


class SandboxBackend(Protocol):
    """Somewhere to run one step. Verbs are idempotent on the reference unless they say otherwise.

    Order of use: ``prepare`` → ``start`` → ``wait`` → ``remove``; ``observe`` and ``wait`` again
    after a restart; ``stop`` at any time. Every verb raises
    :class:`~trainbox_sdk.errors.BackendUnavailable` when the engine does not answer in time.
    """

    name: str

    async def open(self, instance: str, home: Path | None = None) -> None:
        """Connect, for this daemon instance. Must not fail because the engine is away.

        Args:
            instance: id of the daemon's state directory.
            home: a directory of this backend's own, for what outlives the process, such as notes
                about sandboxes that stand by; None where only environments are built.
        """

    async def close(self) -> None:
        """Let go of connections and threads; running sandboxes go on."""

    async def probe(self) -> Health:
        """Look at the engine now."""

    async def capacity(self) -> Capacity:
        """What may be given out."""

    async def build_environment(
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment:
        """Make the environment runnable, at once if a build of the same digest exists.

        Raises:
            BackendRejected: it cannot be built here; the message says what to do.
        """

    async def environments(self) -> Sequence[BuiltEnvironment]:
        """List what is built."""

    async def prepare(self, spec: SandboxSpec) -> None:
        """Create the sandbox without starting it; a second call with the same ref is a no-op.

        Raises:
            BackendRejected: bad spec, unknown environment, untrusted code not allowed.
        """

    async def start(self, spec: SandboxSpec) -> None:
        """Attach the log, then start. A sandbox that already runs or ran is left alone."""

    async def wait(self, spec: SandboxSpec) -> Observation:
        """Return once the sandbox is dead and ``spec.paths.log`` holds every line once.

        Works for a sandbox started by an earlier daemon too: then it also takes up the log again
        where it was left. Cancelling the call leaves the sandbox alone. One that is absent is
        ``lost``; one that was prepared and never started is not waited for: its phase says so.
        """

    async def observe(self) -> Mapping[str, Observation]:
        """Return every sandbox of this instance by :attr:`SandboxRef.name`.

        One engine call, and at most one more for each sandbox that has ended.
        """

    async def stop(self, ref: SandboxRef, grace_s: float) -> None:
        """SIGTERM, then after ``grace_s`` SIGKILL of everything; returns when it is dead."""

    async def remove(self, ref: SandboxRef) -> None:
        """Forget the sandbox; kills it first if it lives. Absent is fine."""


@dataclass(frozen=True)
class InsidePaths:
    """The paths of :class:`Paths` as the guest sees them."""

    spec: str
    dataset: str | None
    code: str
    output: str
    scratch: str
    events: str
    inputs: str | None = None


def guest_environment(inside: InsidePaths, spec: SandboxSpec) -> dict[str, str]:
    """Return the whole environment of a guest: the contract's variables, threads, and extras.

    Thread counts follow the CPU quota: more threads than quota are only throttled.
    """
    threads = str(max(1, round(spec.limits.cpus)))
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",  # noqa: S108 - the sandbox's own tmpfs
        "TZ": "UTC",
        "PYTHONPATH": inside.code,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        # From 1.29 on its wheels report usage unless told not to, before the library starts.
        "ORT_DISABLE_TELEMETRY": "1",
        protocol.ENV_SPEC: inside.spec,
        protocol.ENV_OUTPUT: inside.output,
        protocol.ENV_SCRATCH: inside.scratch,
        protocol.ENV_EVENTS: inside.events,
    }
    if inside.inputs is not None:
        env[protocol.ENV_INPUTS] = inside.inputs
    if inside.dataset is not None:
        env[protocol.ENV_DATASET] = inside.dataset
    return {**spec.env, **env}
