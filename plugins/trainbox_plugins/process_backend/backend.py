"""The process backend: each step a confined process tree of this host, watched by its own shim."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox_guest.confine import cgroups
from trainbox_guest.shim import notes
from trainbox_plugins.backend_kit.handover import fit_for_guest
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_plugins.process_backend import host, shims
from trainbox_plugins.process_backend.index import Index, Sandbox
from trainbox_plugins.process_backend.links import link_inputs
from trainbox_plugins.process_backend.selftest import SelfTest
from trainbox_plugins.process_backend.task import shim_task
from trainbox_plugins.process_backend.venvs import VenvRecord, Venvs, read_record
from trainbox_sdk.backends import Capacity, Cause, Health, Observation, Phase
from trainbox_sdk.errors import BackendRejected, BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainbox_plugins.process_backend.config import Config
    from trainbox_sdk.backends import SandboxRef, SandboxSpec
    from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment


class ProcessBackend:
    """Runs steps without a container engine, as confined as this host allows, and says how far."""

    name = "process"

    def __init__(self, config: Config) -> None:
        self._config = config
        wheelhouse = Wheelhouse(config.cache_dir / "wheels", config.wheelhouse)
        self._venvs = Venvs(config.cache_dir / "venvs", wheelhouse, config.pythons)
        self._selftest = SelfTest(config)
        self._index: Index | None = None

    async def open(self, instance: str, home: Path | None = None) -> None:
        """Take up the index of this instance."""
        del home
        self._index = Index(self._config.index_dir, instance)

    async def close(self) -> None:
        """Nothing to let go: running shims belong to no daemon."""

    async def probe(self) -> Health:
        """Run the self-test, a real sandbox that attacks its own walls; once per process."""
        return await self._selftest.health()

    async def capacity(self) -> Capacity:
        """What the configuration gives out, else what this host has."""
        config = self._config
        memory = max(256 * 1024**2, host.memory_bytes() - config.reserve_memory_bytes)
        return Capacity(
            cpus=config.cpus or float(len(os.sched_getaffinity(0))),
            memory_bytes=config.memory_bytes or memory,
        )

    async def build_environment(
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment:
        """Make the venv of an environment."""
        return await asyncio.to_thread(self._venvs.build, environment, report)

    async def environments(self) -> Sequence[BuiltEnvironment]:
        """List the venvs."""
        return await asyncio.to_thread(self._venvs.built)

    async def verify_environment(self, environment: Environment) -> BuiltEnvironment:
        """Try the imports of a venv once more, and hold it to the lock."""
        return await asyncio.to_thread(self._venvs.verify, environment)

    async def prune_environments(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove venvs of users' requirements that nobody asks for."""
        return await asyncio.to_thread(lambda: self._venvs.prune(keep=keep, unused_s=unused_s))

    async def prepare(self, spec: SandboxSpec) -> None:
        """Write down what the shim will run and give the step its files."""
        venv = self._accept(spec)
        layers = await self._selftest.layers()
        await asyncio.to_thread(self._prepare, spec, venv, layers)

    async def start(self, spec: SandboxSpec) -> None:
        """Start the shim, once."""
        sandbox = self._require(spec.ref)
        await asyncio.to_thread(shims.start, sandbox, self._config.start_deadline_s)

    async def wait(self, spec: SandboxSpec) -> Observation:
        """Return how the sandbox ended, once it has."""
        sandbox = self._opened().get(spec.ref)
        if sandbox is None:
            return _absent(spec.ref)
        await shims.ended(sandbox)
        seen = sandbox.observe()
        if sandbox.condemned() or seen.phase is not Phase.EXITED:
            return _absent(spec.ref)
        return seen

    async def observe(self) -> Mapping[str, Observation]:
        """Look at every sandbox of this instance."""
        found = await asyncio.to_thread(lambda: list(self._opened().all()))
        return {sandbox.ref.name: sandbox.observe() for sandbox in found}

    async def stop(self, ref: SandboxRef, grace_s: float) -> None:
        """SIGTERM, then SIGKILL, by the shim."""
        sandbox = self._opened().get(ref)
        if sandbox is not None:
            await shims.stop(sandbox, grace_s)

    async def remove(self, ref: SandboxRef) -> None:
        """Kill what lives and forget the rest."""
        sandbox = self._opened().get(ref)
        if sandbox is None:
            return
        sandbox.condemn()
        await shims.stop(sandbox, 0.0)
        await asyncio.to_thread(_clear, sandbox)

    # --- inside

    def _accept(self, spec: SandboxSpec) -> VenvRecord:
        if not spec.trusted and not self._config.allow_untrusted:
            raise BackendRejected(
                "the process backend does not run untrusted scripts",
                code="untrusted_refused",
                hint="run them on the docker backend, or set allow_untrusted = true for the "
                "process backend in plugins.toml",
            )
        if spec.gpus:
            raise BackendRejected("the process backend hands out no GPUs", code="no_gpus")
        record = read_record(Path(spec.environment))
        if record is None:
            raise BackendRejected(
                f"{spec.environment!r} is no environment of this backend",
                code="unknown_environment",
                hint="build it: trainbox images build",
            )
        return record

    def _prepare(self, spec: SandboxSpec, venv: VenvRecord, layers: tuple[str, ...]) -> None:
        index = self._opened()
        state = spec.paths.state
        if index.get(spec.ref) is not None and notes.read(str(state), notes.TASK) is not None:
            return
        if not state.is_dir():
            raise BackendRejected(f"the state directory {state} does not exist")
        sandbox = index.put(spec.ref, state)
        try:
            task = shim_task(spec, sandbox, venv, self._config, layers=layers)
            fit_for_guest(spec.paths, task.policy.uid, task.policy.uid)
            link_inputs(spec, sandbox)
        except BackendRejected:
            sandbox.forget()
            raise
        notes.write(str(state), notes.TASK, task)

    def _require(self, ref: SandboxRef) -> Sandbox:
        sandbox = self._opened().get(ref)
        if sandbox is None or notes.read(str(sandbox.state), notes.TASK) is None:
            raise BackendRejected(f"{ref.name} was not prepared", code="not_prepared")
        return sandbox

    def _opened(self) -> Index:
        if self._index is None:
            raise BackendUnavailable("the process backend is not open yet")
        return self._index


def _absent(ref: SandboxRef) -> Observation:
    return Observation(ref, Phase.EXITED, cause=Cause.LOST, detail="there is no such sandbox")


def _clear(sandbox: Sandbox) -> None:
    running = notes.read(str(sandbox.state), notes.RUNNING) or {}
    cgroups.remove(running.get("groups", ()))  # the shim did, unless it was killed
    sandbox.forget()
