"""The files around one sandbox, and the specification a backend receives. No decisions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from trainbox.blobs import no_room_is_storage_full
from trainbox.disks import Disks
from trainbox.engine.writable import Writable, WritablePlaces, first_word, remove_tree
from trainbox.store.records import StepRecord
from trainbox_guest.protocol import GuestSpec
from trainbox_sdk.backends import Limits, Paths, SandboxRef, SandboxSpec
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import Output, StepPlan

ARGV = ("-m", "trainbox_guest.main")


@dataclass(frozen=True)
class Request:
    """One sandbox to make.

    Attributes:
        dataset: the file behind ``DATASET_PATH``, and the name it has inside.
        inputs: further files by name.
        code: staged packages.
        scratch_key: names the scratch directory, which survives the sandbox.
        sized: whether it may get a disk of limited size: its backend sees what we mount.
    """

    ref: SandboxRef
    guest: GuestSpec
    limits: Limits
    environment: str
    code: Path
    scratch_key: str
    deadline_at: datetime
    dataset: tuple[Path, str] | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    gpus: int = 0
    trusted: bool = True
    sized: bool = False


def limits_of(resources: Resources, grace_s: float) -> Limits:
    """Return the limits for a step's resources; ``/tmp`` and ``/dev/shm`` are part of memory."""
    share = max(16 * 1024**2, resources.memory_bytes // 8)
    return Limits(
        cpus=resources.cpus,
        memory_bytes=resources.memory_bytes,
        tmp_bytes=min(share, 1024**3),
        shm_bytes=min(share, 1024**3),
        wall_s=resources.timeout_s,
        grace_s=grace_s,
    )


def ref_of(instance: str, step: StepRecord, role: str = "step") -> SandboxRef:
    """Return the reference of a step's current attempt."""
    assert step.attempt_id is not None, "a step without an attempt has no sandbox"
    return SandboxRef(instance, step.job_id, step.attempt_id, role)


def checked_outputs(plan: StepPlan) -> dict[str, Output]:
    """Return each output that is checked, by the role of the sandbox that checks it.

    One sandbox per output: in a shared one, what the first check left would speak for the second.
    """
    checked = [output for output in plan.outputs if output.check]
    return {f"check-{n}" if n > 1 else "check": out for n, out in enumerate(checked, start=1)}


def roles_of(plan: StepPlan) -> tuple[str, ...]:
    """Return the roles of all sandboxes that an attempt of this step may have."""
    return ("step", *checked_outputs(plan))


class SandboxFiles:
    """Directories of sandboxes under the state directory.

    ::

        sandboxes/<attempt>-<role>/  spec.json data/ inputs/ backend/
        disks/<step>/                a file system of limited size
            <attempt>-<role>/        events.jsonl output/
            scratch/                 survives attempts
        logs/<attempt>.log           survives the sandbox; see log_files

    Where a sandbox can have no disk, ``events.jsonl`` and ``output/`` lie beside its spec, and its
    scratch is ``scratch/<step>/``.

    Args:
        state_dir: of the daemon.
        disks: None for plain directories alone.

    Attributes:
        writable: the part of it that guests write.
    """

    def __init__(self, state_dir: Path, disks: Disks | None = None) -> None:
        self._sandboxes = state_dir / "sandboxes"
        self._logs = state_dir / "logs"
        self.writable = WritablePlaces(state_dir, disks)
        for folder in (self._sandboxes, self._logs):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    def log(self, attempt_id: str, role: str = "step") -> Path:
        """Return the log file of an attempt."""
        suffix = "" if role == "step" else f"-{role}"
        return self._logs / f"{attempt_id}{suffix}.log"

    def logs(self, attempt_id: str) -> list[Path]:
        """Return every file of the logs that an attempt and its checks left."""
        return [*self._logs.glob(f"{attempt_id}.log*"), *self._logs.glob(f"{attempt_id}-*.log*")]

    def plain_logs(self) -> list[tuple[str, Path]]:
        """Return the logs that are not compressed, each with its attempt."""
        return [(first_word(path.stem), path) for path in self._logs.glob("*.log")]

    def folder(self, ref: SandboxRef) -> Path:
        """Return the sandbox's own directory."""
        return self._sandboxes / f"{ref.attempt_id}-{ref.role}"

    def build(self, request: Request) -> SandboxSpec:
        """Make the files of a sandbox, leaving those that exist alone; return its spec.

        Raises:
            StorageFull: no room for them.
        """
        with no_room_is_storage_full(self._sandboxes):
            return self._build(request)

    def _build(self, request: Request) -> SandboxSpec:
        folder = self.folder(request.ref)
        writable = self.writable.lay_out(request.scratch_key, folder, may_be_sized=request.sized)
        paths = self._paths(request, folder, writable)
        for directory in (paths.output, paths.scratch, paths.state):
            directory.mkdir(parents=True, exist_ok=True)
        if not paths.events.exists():
            paths.events.touch()
        part = folder / "spec.json.part"
        part.write_text(request.guest.to_json())
        part.chmod(0o444)
        part.replace(paths.spec)
        return SandboxSpec(
            ref=request.ref,
            environment=request.environment,
            argv=ARGV,
            paths=paths,
            limits=_limits(request.limits, writable),
            deadline_at=request.deadline_at,
            gpus=request.gpus,
            trusted=request.trusted,
            disk_is_sized=writable.sized,
        )

    def _paths(self, request: Request, folder: Path, writable: Writable) -> Paths:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        dataset = None
        if request.dataset is not None:
            source, name = request.dataset
            dataset = _link(source, folder / "data" / name)
        inputs = None
        if request.inputs:
            inputs = folder / "inputs"
            inputs.mkdir(exist_ok=True)
            for name, source in request.inputs.items():
                (inputs / name).parent.mkdir(parents=True, exist_ok=True)
                _link(source, inputs / name)
        return Paths(
            spec=folder / "spec.json",
            dataset=dataset,
            code=request.code,
            output=writable.output,
            scratch=writable.scratch,
            events=writable.events,
            log=self.log(request.ref.attempt_id, request.ref.role),
            state=folder / "backend",
            inputs=inputs,
        )

    def discard(self, step: StepRecord, *, keep_scratch: bool) -> None:
        """Delete the directories of a step's dead sandboxes.

        Args:
            step: its attempt is the one that is dead.
            keep_scratch: a retry may resume from it. A check never resumes.
        """
        for role in roles_of(step.plan):
            self._discard(step, role, keep_scratch=keep_scratch and role == "step")

    def discard_check(self, step: StepRecord, role: str) -> None:
        """Delete what belongs to one dead check of a step."""
        self._discard(step, role, keep_scratch=False)

    def _discard(self, step: StepRecord, role: str, *, keep_scratch: bool) -> None:
        folder = self.folder(ref_of("", step, role))
        self.writable.discard(scratch_key(step, role), folder, keep_scratch=keep_scratch)
        remove_tree(folder)

    def attempts(self) -> set[str]:
        """Return the attempts that have a sandbox directory."""
        return {first_word(path.name) for path in self._sandboxes.iterdir()}

    def discard_attempts(self, attempts: AbstractSet[str]) -> None:
        """Delete all sandbox directories of these attempts."""
        for path in list(self._sandboxes.iterdir()):
            if first_word(path.name) in attempts:
                remove_tree(path)


def scratch_key(step: StepRecord, role: str = "step") -> str:
    """Return the name of what survives a sandbox: of the step, or of one of its checks."""
    return step.id if role == "step" else f"{step.id}-{role}"


def _limits(given: Limits, writable: Writable) -> Limits:
    return replace(given, output_bytes=writable.limit_bytes or given.output_bytes)


def _link(source: Path, target: Path) -> Path:
    """Give a blob a second name with a useful suffix; the bytes are shared, never copied."""
    if not target.exists():
        part = target.with_name(".part")  # short: a user's file name may be as long as names can be
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)  # another file system, or no hard links here
            part.chmod(0o444)
        part.replace(target)
    return target
