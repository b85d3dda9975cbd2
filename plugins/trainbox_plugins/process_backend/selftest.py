"""Find out what this host confines by attacking a real sandbox, not by looking at versions."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbox_guest.confine import FILES, LAYERS, USER, Policy
from trainbox_guest.shim import notes
from trainbox_plugins.process_backend import attack, interpreters, shims
from trainbox_plugins.process_backend.index import Index
from trainbox_plugins.process_backend.promises import promises, summary
from trainbox_sdk.backends import Cause, Health, SandboxRef
from trainbox_sdk.errors import BackendUnavailable, TrainboxError

if TYPE_CHECKING:
    from trainbox_plugins.process_backend.config import Config
    from trainbox_plugins.process_backend.index import Sandbox

_MIB = 1024**2
_CHOICES = (
    LAYERS,
    tuple(layer for layer in LAYERS if layer != FILES),
    tuple(layer for layer in LAYERS if layer not in (FILES, USER)),
)
"""Tried in order: without a root of its own, a step of another user may not reach its Python."""


@dataclass(frozen=True)
class Findings:
    """What one attacked sandbox told.

    Attributes:
        layers: what was asked for.
        held: by attack, True where it was refused.
        applied, missing: the confinement's own report.
        problem: why no sandbox could be started; then the rest is empty.
    """

    layers: tuple[str, ...] = ()
    held: dict[str, Any] = field(default_factory=dict)
    applied: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    problem: str = ""


class SelfTest:
    """Runs the attack once per daemon and remembers what it found."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._findings: Findings | None = None
        self._running = asyncio.Lock()

    async def findings(self) -> Findings:
        """Return the findings, from a real sandbox the first time; a failure is not remembered."""
        async with self._running:
            if self._findings is None:
                found = await asyncio.to_thread(self._find)
                if found.problem:
                    return found
                self._findings = found
            return self._findings

    async def layers(self) -> tuple[str, ...]:
        """Return the layers that work here.

        Raises:
            BackendUnavailable: no sandbox can be started at all.
        """
        found = await self.findings()
        if found.problem:
            raise BackendUnavailable(found.problem)
        return found.layers

    async def health(self) -> Health:
        """Say whether a sandbox can be started, and what it confines."""
        found = await self.findings()
        version = f"Linux {platform.release()}, Python {platform.python_version()}"
        if found.problem:
            return Health(ok=False, detail=found.problem, version=version)
        made = promises(found.held, found.applied, found.missing)
        return Health(
            ok=True,
            detail=summary(made),
            version=version,
            promises=made,
            sees_mounts=True,  # a step's process is a descendant of the daemon's
            untrusted=self._config.allow_untrusted,
        )

    def _find(self) -> Findings:
        if sys.platform != "linux":
            return Findings(problem="the process backend needs Linux")
        problem = ""
        for layers in _CHOICES:
            try:
                found = self._attack(layers)
            except (OSError, ValueError, TrainboxError) as error:
                found = Findings(problem=f"the self-test could not run: {error}")
            if not found.problem:
                return found
            problem = problem or found.problem
        return Findings(problem=problem)

    def _attack(self, layers: tuple[str, ...]) -> Findings:
        self._config.index_dir.mkdir(parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix=".selftest-", dir=self._config.index_dir))
        try:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                task = self._task(home, listener.getsockname()[1], layers)
                return _run(home, task, layers, self._config.start_deadline_s)
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def _task(self, home: Path, port: int, layers: tuple[str, ...]) -> notes.Task:
        python = interpreters.ask(getattr(sys, "_base_executable", None) or sys.executable)
        if python is None:
            raise BackendUnavailable(f"{sys.executable} does not start")
        (home / "secret").write_text("secret", encoding="ascii")
        (home / "secret").chmod(0o644)
        for name, mode in (("foreign", 0o777), ("out", 0o777), ("state", 0o700)):
            (home / name).mkdir()
            (home / name).chmod(mode)
        home.chmod(0o755)
        source = Path(attack.__file__)
        uid = self._config.uid if os.geteuid() == 0 and USER in layers else None
        policy = Policy(
            read=(*python.roots, str(source)), write=(str(home / "out"),), uid=uid, layers=layers
        )
        targets = (home / "secret", home / "foreign", port, os.getpid(), policy.tmp_bytes)
        arguments = [str(target) for target in targets]
        return notes.Task(
            argv=[python.executable, "-I", "-S", str(source), *arguments],
            env={"LANG": "C.UTF-8"},
            cwd=str(home / "out"),
            policy=policy,
            log=str(home / "log"),
            watched=[str(home / "out")],
            memory_bytes=256 * _MIB,
            pids=64,
            output_bytes=_MIB,
            output_entries=100,
            log_bytes=64 * 1024,
            flood_bytes=_MIB,
            cpus=1.0,
            deadline_at=time.time() + self._config.start_deadline_s,
            grace_s=1.0,
            cgroup=home.name.strip(".") if self._config.cgroups else "",
        )


def _run(home: Path, task: notes.Task, layers: tuple[str, ...], deadline_s: float) -> Findings:
    index = Index(home, "selftest")
    sandbox = index.put(SandboxRef("selftest", "selftest", "selftest"), home / "state")
    notes.write(str(sandbox.state), notes.TASK, task)
    shims.start(sandbox, deadline_s)
    _await_end(sandbox, deadline_s)
    seen = sandbox.observe()
    text = (home / "log").read_text(encoding="utf-8", errors="replace")
    if seen.cause is not Cause.NONE or seen.exit_code != 0:
        why = seen.detail or text.strip()[-300:] or f"exit code {seen.exit_code}"
        return Findings(problem=f"no sandbox can be started here: {why}")
    confined = notes.read(str(sandbox.state), notes.CONFINED) or {}
    held = json.loads(text.splitlines()[-1])
    return Findings(layers, held, confined.get("applied", {}), confined.get("missing", {}))


def _await_end(sandbox: Sandbox, deadline_s: float) -> None:
    deadline = time.monotonic() + deadline_s
    while sandbox.alive():
        if time.monotonic() > deadline:
            raise BackendUnavailable("the self-test's sandbox did not end in time")
        time.sleep(0.01)
