"""Run a plan's steps the way a sandbox would, without one: staged code, a clean environment."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trainbox_guest import protocol
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.backends import (
    InsidePaths,
    Limits,
    Paths,
    SandboxRef,
    SandboxSpec,
    guest_environment,
)
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import StepPlan
from trainbox_sdk.testing import staged

OURS = ("trainbox", "trainbox_sdk", "trainbox_plugins", "trainbox_guest")


@dataclass(frozen=True)
class GuestRun:
    """What one run of a step left behind.

    Attributes:
        events: lines the guest wrote that follow the protocol, in order.
        stray_lines: lines of the event file that do not.
        files: names in the output directory.
    """

    exit_code: int
    log: str
    output: Path
    events: tuple[Mapping[str, Any], ...]
    stray_lines: int
    files: tuple[str, ...]
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> list[Mapping[str, Any]]:
        """What the guest said of why it failed."""
        return [event for event in self.events if event["t"] == "failure"]


class GuestRunner:
    """Runs steps under one directory.

    Args:
        root: where runs live; emptied by nobody but the caller.
        python: the interpreter of the step's environment.
        timeout_s: seconds a step may take.
    """

    def __init__(
        self, root: Path, *, python: str = sys.executable, timeout_s: float = 300.0
    ) -> None:
        self._root = root
        self._python = python
        self._timeout_s = timeout_s
        self._runs = 0

    def run(
        self,
        task: str,
        step: StepPlan,
        dataset: tuple[Path, DatasetView] | None,
        *,
        inputs: Mapping[str, Path] | None = None,
        resources: Resources | None = None,
    ) -> GuestRun:
        """Run one step to its end.

        Args:
            task: task type name.
            step: what to run.
            dataset: its file and view, None for a task without data.
            inputs: what lies in ``TRAINBOX_INPUTS``: ``step.name`` of earlier steps' files, or
                the name of an uploaded one, to path.
            resources: the quota the guest is told; nothing enforces it here.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout_s``.
        """
        self._runs += 1
        folder = self._root / f"run-{self._runs}"
        paths = _lay_out(folder, dataset, inputs or {})
        stage_packages(step.packages, paths.code)
        resources = resources or Resources()
        paths.spec.write_text(_guest_spec(task, step, dataset, inputs or {}, resources).to_json())
        roots = {*OURS, *(package.partition(".")[0] for package in step.packages)}
        done = subprocess.run(
            [self._python, "-u", staged.__file__, str(paths.code), *sorted(roots)],
            env=_environment(paths, step, resources),
            cwd=paths.output,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=self._timeout_s,
            check=False,
        )
        return _outcome(done, paths)


def stage_packages(packages: Sequence[str], target: Path) -> None:
    """Copy import packages and modules, and the guest itself, into ``target``.

    Parents of a dotted name are staged as a bare ``__init__``, as in a sandbox.

    Raises:
        ModuleNotFoundError: a package is not installed.
    """
    for name in dict.fromkeys(("trainbox_guest", *packages)):
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
        place = target.joinpath(*name.split("."))
        place.parent.mkdir(parents=True, exist_ok=True)
        for depth in range(1, name.count(".") + 1):
            target.joinpath(*name.split(".")[:depth], "__init__.py").touch()
        if spec.submodule_search_locations is None:
            shutil.copy(str(spec.origin), place.with_suffix(".py"))
            continue
        for location in spec.submodule_search_locations:
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(location, place, dirs_exist_ok=True, ignore=ignore)


def _lay_out(
    folder: Path, dataset: tuple[Path, DatasetView] | None, inputs: Mapping[str, Path]
) -> Paths:
    for name in ("code", "data", "output", "scratch", "state"):
        (folder / name).mkdir(parents=True)
    (folder / "events.jsonl").touch()
    inside = folder / "data" / "dataset.parquet"
    if dataset is not None:
        shutil.copy(dataset[0], inside)
    for name, source in inputs.items():
        (folder / "inputs").mkdir(exist_ok=True)
        shutil.copy(source, folder / "inputs" / name)
    return Paths(
        spec=folder / "spec.json",
        dataset=None if dataset is None else inside,
        code=folder / "code",
        output=folder / "output",
        scratch=folder / "scratch",
        events=folder / "events.jsonl",
        log=folder / "log",
        state=folder / "state",
        inputs=folder / "inputs" if inputs else None,
    )


def _guest_spec(
    task: str,
    step: StepPlan,
    dataset: tuple[Path, DatasetView] | None,
    inputs: Mapping[str, Path],
    resources: Resources,
) -> protocol.GuestSpec:
    facts: dict[str, Any] = {}
    if dataset is not None:
        view = dataset[1]
        facts = {
            "dataset_id": view.id,
            "dataset_name": view.name,
            "dataset_digest": view.digest,
            "columns": [asdict(column) for column in view.columns],
        }
    return protocol.GuestSpec(
        entry=step.entry,
        task=task,
        params=json.loads(json.dumps(dict(step.params))),
        job={"job_id": "job_example", "job_name": task, "step": step.name, "attempt": 1, **facts},
        cpus=resources.cpus,
        memory_bytes=resources.memory_bytes,
        inputs=sorted(inputs),
    )


def _environment(paths: Paths, step: StepPlan, resources: Resources) -> dict[str, str]:
    spec = SandboxSpec(
        ref=SandboxRef("example", "job_example", "attempt_example"),
        environment=step.environment,
        argv=(),
        paths=paths,
        limits=Limits(cpus=resources.cpus, memory_bytes=resources.memory_bytes),
        deadline_at=datetime.now(UTC) + timedelta(seconds=resources.timeout_s),
    )
    inside = InsidePaths(
        spec=str(paths.spec),
        dataset=None if paths.dataset is None else str(paths.dataset),
        code=str(paths.code),
        output=str(paths.output),
        scratch=str(paths.scratch),
        events=str(paths.events),
        inputs=None if paths.inputs is None else str(paths.inputs),
    )
    return {**guest_environment(inside, spec), "TMPDIR": str(paths.state)}


def _outcome(done: subprocess.CompletedProcess[bytes], paths: Paths) -> GuestRun:
    lines = paths.events.read_bytes().splitlines()
    events = [event for line in lines if (event := protocol.decode_event(line)) is not None]
    report = paths.output / protocol.RESULT_NAME
    return GuestRun(
        exit_code=done.returncode,
        log=done.stdout.decode(errors="replace"),
        output=paths.output,
        events=tuple(events),
        stray_lines=len(lines) - len(events),
        files=tuple(sorted(path.name for path in paths.output.iterdir())),
        result=json.loads(report.read_text()) if report.is_file() else {},
    )
